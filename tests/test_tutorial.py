"""docs/tutorial.md, from its first file to its last command, in one folder."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cli import main

PAGE = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:<!-- file: (?P<file>[\w.]+) -->\n)?```(?P<kind>\w+)\n(?P<body>.*?)```", re.DOTALL)
# What test_new does: a fresh environment takes longer than this page may.
ELSEWHERE = ("pip", "harness run --models my-model,count-bigram")
NEEDS = {"recurrent.py": "torch", "harness tune": "optuna"}


def sections() -> Iterator[tuple[str, list[re.Match[str]]]]:
    """Title -> its blocks of code, in their order."""
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        yield section.partition("\n")[0], list(BLOCK.finditer(section))


def said(command: str) -> str:
    """What a command prints; it must end with 0. Cells run in this process, which is quicker."""
    words = shlex.split(command, comments=True)[1:]
    words += ["--in-process"] if words[0] in ("run", "tune") else []
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    assert code == 0, f"{command}\n{out.getvalue()}{err.getvalue()}"
    return out.getvalue()


def rows(table: str) -> list[dict[str, str]]:
    """Rank, model (with the options on the lines below it), dev and test NLL of every row."""
    found: list[dict[str, str]] = []
    for line in table.splitlines():
        row = re.match(r" *(\d+)  (\S+@\S+) +(\S+) +([\d.]+) +([\d.]+)±", line)
        if row:
            names = ("rank", "model", "parameters", "dev", "test")
            found.append(dict(zip(names, row.groups(), strict=True)))
        elif found and (more := re.fullmatch(r" +(\w+=\S+)", line)):
            found[-1]["model"] += more[1]
        elif not line:
            break
    return found


@pytest.fixture(autouse=True)
def unguarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is loaded at once, not first in a child within ten seconds: test_registry has the guard."""
    monkeypatch.setattr("harness.registry.probe", lambda path: None)


def outcomes(audit: str) -> list[str]:
    """`causal: pass` of every line; its figures are the machine's."""
    return [line.partition(" –")[0] for line in audit.splitlines()]


@pytest.mark.parametrize(("title", "blocks"), [pytest.param(*each, id=each[0]) for each in sections()])
def test_a_section_of_the_tutorial_does_what_it_shows(title: str, blocks: list[re.Match[str]]) -> None:
    """Its files are written, its commands end with 0, its tables show the figures that are printed."""
    for word, module in NEEDS.items():
        if any(word in block[0] for block in blocks):
            pytest.importorskip(module)
    for block in BLOCK.finditer(PAGE):  # a section may go on with the files of those before it
        if block["file"]:
            Path(block["file"]).write_text(block["body"], encoding="utf-8")
    printed = ""
    for block in blocks:
        if block["kind"] == "sh":
            for command in block["body"].splitlines():
                if not any(command.startswith(start) for start in ELSEWHERE):
                    printed = said(command)
        elif block["kind"] == "text" and ": pass" in block["body"]:
            assert set(outcomes(block["body"])) <= set(outcomes(printed))
        elif block["kind"] == "text":
            shown, got = rows(block["body"]), rows(printed.partition("status\n")[2].partition("\n")[2])
            assert shown
            for row, ours in zip(shown, got, strict=True):
                if "@torch" in row["model"]:  # its arithmetic is the machine's
                    assert float(ours["test"]) == pytest.approx(float(row.pop("test")), abs=0.03)
                    assert float(ours["dev"]) == pytest.approx(float(row.pop("dev")), abs=0.03)
                assert row.items() <= ours.items()


def test_the_first_model_has_sixteen_lines() -> None:
    """As the title of its section says."""
    (_, (first, *_)), *_ = sections()
    assert first["file"] == "pairs.py"
    assert len(first["body"].splitlines()) == 16


@pytest.mark.parametrize(
    ("option", "answer"),
    [("strenght=5", "did you mean 'strength'?"), ("strength=-1", "strength must be above 0")],
)
def test_a_mistake_is_answered_as_the_tutorial_says(
    option: str, answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, exit 2: the nearest name, and what the spec's `check` says."""
    assert f"`blend:{option}`" in PAGE
    assert answer in PAGE
    code = next(block["body"] for _, blocks in sections() for block in blocks if block["file"] == "blend.py")
    Path("blend.py").write_text(code, encoding="utf-8")
    assert main(["run", "--plugin", "blend.py", "--models", f"blend:{option}"]) == 2
    assert answer in capsys.readouterr().err


def test_a_file_that_imports_torch_does_not_load_without_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`requires` cannot help a plugin whose own import fails; the tutorial says so."""
    assert "this file imports torch itself, so without torch it does not load" in PAGE
    code = next(
        block["body"] for _, blocks in sections() for block in blocks if block["file"] == "recurrent.py"
    )
    Path("recurrent.py").write_text(code, encoding="utf-8")
    monkeypatch.setitem(sys.modules, "torch", None)  # its import fails
    assert main(["run", "--plugin", "recurrent.py", "--models", "recurrent"]) == 2
    assert "torch" in capsys.readouterr().err
