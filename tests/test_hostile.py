"""Hostile text wherever a name or a document may stand: shown escaped, kept in its place, refused."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import unicodedata
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness import registry, store
from harness.cli import VERBS, main

FROZEN = Path(__file__).parent / "frozen"
NAME = "20260101T000000-000000-0001"
TEXTS = {
    "controls": "\x1b[2J\x1b]0;title\x07red\x9b31m\x7f a\nb\r\x0b\u2028c",
    "bidi": "abc\u202egnp.exe\u2066 a\u200b\u2060\ufeffb",
    "up": "../x",
    "absolute": "/nowhere/x",
    "long": "x" * 300,
    "emoji": "🦜🏴\u200d☠️",
    "nul": "a\0b",
    "formula": "=cmd|' /C calc'!A0",
    "markup": "</script><script>alert(1)</script> [bold]x[/y] | & \\input{x} ~ $",
    "no UTF-8": "a\udcffb",
}
IN_RECORDS = ("controls", "bidi", "long", "emoji", "nul", "formula", "markup")
PRINTED = {"\n"}
FORBIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def is_clean(text: str) -> bool:
    """Whether a terminal obeys nothing in it: no controls, no directions, no odd line ends."""
    return all(unicodedata.category(char) not in FORBIDDEN or char in PRINTED for char in text)


def files(folder: Path) -> dict[str, bytes]:
    """Everything below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[None]:
    """Nothing is written beside the working directory and the cache, and nothing in it but results."""
    before = set(files(tmp_path))
    yield
    new = {name for name in set(files(tmp_path)) - before if not name.startswith(("cache/", "work/results/"))}
    assert new == set()


@pytest.fixture(params=TEXTS)
def text(request: pytest.FixtureRequest) -> str:
    """A hostile text."""
    return TEXTS[request.param]


@pytest.fixture
def good() -> Path:
    """A sound run in the results folder, with two models."""
    path = Path("results") / f"{NAME}.jsonl"
    shutil.copytree(FROZEN / f"{NAME}.jsonl.d", store.side_folder(path))
    shutil.copyfile(FROZEN / f"{NAME}.jsonl", path)
    Path("mine.txt").write_text("ab\n")
    return path


REFUSED = {
    "run --models": lambda text: ["run", "--models", text],
    "run a model's option": lambda text: ["run", "--models", f"count-bigram:{text}=1"],
    "run --dataset": lambda text: ["run", "--models", "uniform", "--dataset", text],
    "run --dataset file:": lambda text: ["run", "--models", "uniform", "--dataset", f"file:{text}"],
    "run --split": lambda text: ["run", "--models", "uniform", "--split", text],
    "run --budget": lambda text: ["run", "--models", "uniform", "--budget", text],
    "run --plugin": lambda text: ["run", "--models", "uniform", "--plugin", text],
    "tune": lambda text: ["tune", text],
    "show": lambda text: ["show", text],
    "show --columns": lambda text: ["show", "--columns", text],
    "sample": lambda text: ["sample", text],
    "sample --run": lambda text: ["sample", "uniform", "--run", text],
    "sample --prompt": lambda text: ["sample", "uniform", "--prompt", text],
    "score": lambda text: ["score", text, "mine.txt"],
    "score a file": lambda text: ["score", "uniform", text],
    "score --run": lambda text: ["score", "uniform", "mine.txt", "--run", text],
    "compare": lambda text: ["compare", "uniform", text],
    "verify": lambda text: ["verify", text],
    "gate --baseline": lambda text: ["gate", "--baseline", text],
    "gate --head": lambda text: ["gate", "--baseline", "latest", "--head", text],
    "report": lambda text: ["report", text],
    "history": lambda text: ["history", text],
    "history --models": lambda text: ["history", "test_nll", "--models", text],
    "history --dataset": lambda text: ["history", "test_nll", "--dataset", text],
    "export": lambda text: ["export", "--to", "csv", text],
    "export --to": lambda text: ["export", "--to", text],
    "import": lambda text: ["import", "pytest-benchmark", text],
    "audit": lambda text: ["audit", text],
    "compress": lambda text: ["compress", text, "mine.txt", "out"],
    "data describe": lambda text: ["data", "describe", text],
    "no verb": lambda text: [text],
}  # fmt: skip


@pytest.mark.parametrize("command", REFUSED)
def test_a_hostile_argument_is_refused(
    command: str, text: str, good: Path, outside: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the name of a model, dataset, run, split, file or verb: one line on stderr, exit 2, nothing made."""
    before = files(Path.cwd())
    code = main(REFUSED[command](text))
    printed = capsys.readouterr()
    assert code == 2 or (code == 3 and command == "gate --baseline"), printed
    assert is_clean(printed.out + printed.err), printed
    assert len(printed.err.splitlines()) <= 2
    assert files(Path.cwd()) == before


@pytest.mark.parametrize("kinds", ["model", "dataset", "backend option"])
def test_a_plugin_of_a_hostile_name_is_refused(
    kinds: str,
    text: str,
    outside: None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such a model or dataset is a mistake in its file, exit 2; what is shown of any name is clean."""
    monkeypatch.setattr(
        registry, "probe", partial(registry.probe, seconds=60)
    )  # a busy machine is no finding
    names = {"model": "fine", "backend": "numpy", "option": "k", "dataset": "data"}
    names |= dict.fromkeys(kinds.split(), text)
    Path("results").mkdir()
    plugin = Path("results/plugin.py")
    plugin.write_text(
        "from harness import DatasetSpec, ModelSpec, hookimpl\n"
        "from harness_plugins.uniform import Uniform\n"
        f"model, backend, option, data = {list(names.values())!a}\n"
        "@hookimpl\ndef harness_models():\n"
        "    return ModelSpec(model, {backend: Uniform}, config={option: 1})\n"
        "@hookimpl\ndef harness_datasets():\n"
        "    return DatasetSpec(data, bytes, alphabet='ab', licence='x', source='x')\n"
    )
    code = main(["list", "models", "--plugin", str(plugin)])
    printed = capsys.readouterr()
    assert code == (0 if "option" in kinds or text == TEXTS["long"] else 2)
    assert is_clean(printed.out + printed.err), ascii(printed.out + printed.err)


# ---- a run file of a stranger


@pytest.fixture(params=IN_RECORDS)
def strange(good: Path, request: pytest.FixtureRequest) -> Path:
    """A run whose every name and document is hostile, and whose checksums hold."""
    spelt = TEXTS[request.param]
    lines = []
    for line in good.read_bytes().splitlines():
        kind, payload = store.decode_line(line)
        value: dict[str, Any] = json.loads(payload)
        if kind != "end":
            value |= {"run_id": spelt, "dataset": spelt, "split": spelt, "budget": spelt}
        if kind == "header":
            value |= {"cells": [spelt, f"{spelt} #2"], "version": spelt, "created": spelt}
        if kind == "cell":
            value |= {"model": spelt, "backend": spelt, "marks": [spelt], "rests_on": spelt, "stdout": spelt}
            value |= {"options": {spelt: spelt}, "config": {spelt: spelt, "cell": value["cell"]}}
            value["plugin"] = {"distribution": spelt, "version": spelt, "code_hash": spelt}
            value["absent"] = {spelt: spelt}
            value["side_files"] = {}
            value["environment"] = {spelt: spelt, "cpu": spelt}
            samples = store.side_folder(good) / str(value["samples"])
            samples.write_bytes(msgspec.json.encode([spelt] * 500))
        lines.append(store.encode_line(kind, msgspec.json.encode(value)))
    good.write_bytes(b"".join(lines))
    return good


SHOWN = {
    "list runs": ["list", "runs"],
    "list runs --json": ["list", "runs", "--json"],
    "show": ["show"],
    "show all columns": ["show", "--columns", "all"],
    "show markdown": ["show", "--format", "markdown"],
    "show latex": ["show", "--format", "latex"],
    "show csv": ["show", "--format", "csv", "--columns", "all"],
    "show json": ["show", "--json"],
    "compare": ["compare", "latest"],
    "compare --json": ["compare", "latest", "--json"],
    "sample": ["sample", "count-bigram"],
    "score": ["score", "count-bigram", "mine.txt"],
    "gate": ["gate", "--baseline", "latest", "--head", "latest"],
    "history": ["history", "test_nll"],
    "history csv": ["history", "test_nll", "--format", "csv"],
    **{f"export {form}": ["export", "--to", form] for form in ("csv", "json", "markdown", "latex")},
    "export pytest-benchmark json": ["export", "--to", "pytest-benchmark"],
    "export bencher json": ["export", "--to", "bencher"],
    "verify": ["verify"],
    "verify --json": ["verify", "--json"],
    "verify --store": ["verify", "--store"],
    "verify --store --json": ["verify", "--store", "--json"],
}


@pytest.mark.parametrize("command", SHOWN)
def test_a_strangers_run_is_shown_escaped(
    command: str, strange: Path, outside: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever its names say, a terminal obeys nothing, CSV holds no formula, JSON is JSON, no traceback."""
    before = files(Path.cwd())
    code = main(SHOWN[command])
    printed = capsys.readouterr()
    assert code in (0, 2, 3, 6), printed.err
    assert is_clean(printed.out + printed.err), ascii(printed.out + printed.err)
    assert files(Path.cwd()) == before
    if "csv" in command:
        cells = [cell for row in csv.reader(io.StringIO(printed.out)) for cell in row]
        assert not [cell for cell in cells if re.match(r"[=@+\t\r]|-(?![\d.])", cell)]
    if "json" in command and code != 2:
        json.loads(printed.out)


# ---- inside datasets

DOCUMENTS = {name: text for name, text in TEXTS.items() if name not in ("no UTF-8", "long", "nul")}


def test_documents_may_hold_anything(outside: None, capsys: pytest.CaptureFixture[str]) -> None:
    """A dataset of hostile lines is trained on, scored, sampled and compared; what is shown is clean."""
    lines = [line for text in DOCUMENTS.values() for line in text.split("\n")]
    Path("results").mkdir()
    data = Path("results/hostile.txt")
    data.write_text("".join(f"{line}{number}\n" for number in range(12) for line in lines), newline="")
    dataset = ["--dataset", f"file:{data}"]
    commands = [
        ["run", "--models", "count-bigram,uniform", *dataset, "--in-process", "--threads", "1"],
        ["show", "--format", "csv"],
        ["show", "--format", "markdown"],
        ["sample", "count-bigram", "-n", "30"],
        ["sample", "count-bigram", "-n", "30", "--json"],
        ["score", "count-bigram", str(data), "--per-character"],
        ["compare", "count-bigram", "uniform"],
        ["data", "describe", f"file:{data}"],
        ["verify", "--store"],
    ]
    for command in commands:
        assert main(command) == 0, (command, capsys.readouterr().err)
        printed = capsys.readouterr()
        assert is_clean(printed.out + printed.err), (command, ascii(printed.out))


@pytest.mark.parametrize("option", ["--results", "--output"])
def test_a_hostile_place_is_used_or_refused(
    option: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A user may name any place to write to; one that cannot be is a line and exit 2 or 6, no traceback."""
    place = os.path.join("deep", "down", text) if not text.startswith("/") else text
    code = main(
        [
            "run",
            "--models",
            "uniform",
            "--dataset",
            "markov:documents=40,vocab=5",
            "--in-process",
            option,
            place,
        ]
    )
    printed = capsys.readouterr()
    assert code in (0, 2, 6), printed.err
    assert is_clean(printed.out + printed.err), ascii(printed.out + printed.err)


def test_every_verb_is_attacked_here() -> None:
    """A new verb that takes a name gets its row above, or a reason here."""
    without = {
        "list": "takes no names; `list runs` is among those shown",
        "config": "takes no names",
        "completion": "takes one of three shells",
        "doctor": "its file is the user's own; its model is that of `run --models`",
        "new": "its name becomes a package name: tests/test_scaffold.py",
        "decompress": "its file is the user's own; its run is found as that of `show`",
    }  # fmt: skip
    attacked = {command.split()[0] for command in REFUSED} - {"no"}
    assert attacked | set(without) >= set(VERBS)
    assert not attacked & set(without)
