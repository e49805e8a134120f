"""The format of run files: frozen, described key by key, with nothing secret in it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import harness
from harness import environment, record, store, store_check
from harness.cli import main
from harness.errors import StoreError

ROOT = Path(__file__).parents[1]
FROZEN = Path(__file__).parent / "frozen"
CURRENT, OLDER, NEWER = (
    FROZEN / f"{name}.jsonl"
    for name in ("20260101T000000-000000-0001", "20250101T000000-000000-0000", "20270101T000000-000000-0002")
)
SUMS = {
    CURRENT: "532d4ef6c14443e2613fdfa2be886d09e2e681bc658dfd0596ac2aa5c9c2cc9a",
    OLDER: "6166bb45dce253f021be8099d1f26c0e5cfd3b4d2f4bec6e9a824280a4444ec9",
    NEWER: "217fc3efa2fd8b8a513d7e5d0f3974da4a9386df41ac4d131d0bc37044f1c82d",
}
SCHEMA = json.loads((ROOT / "docs" / "record.schema.json").read_text(encoding="utf-8"))
README = (ROOT / "results" / "README.md").read_text(encoding="utf-8")


# ---- frozen files


@pytest.mark.parametrize("path", SUMS, ids=lambda path: path.stem)
def test_the_frozen_files_are_those_that_were_frozen(path: Path) -> None:
    """They stand for files that users have: they are never made anew."""
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SUMS[path]


@pytest.mark.parametrize("path", SUMS, ids=lambda path: path.stem)
def test_frozen_files_are_read(path: Path) -> None:
    """Header and figures of an older, the current and a newer schema come out as they were written."""
    run = store.read(path)
    assert run.header.run_id == path.stem
    assert run.header.environment["commit"] == "0123456789ab+dirty"
    first = run.records[0]
    assert (first.label, first.status, first.metrics.test_nll) == (
        "count-bigram k=0.5",
        "ok",
        0.9609126314279842,
    )
    assert first.data.targets == {"train": 804, "dev": 58, "test": 60}


@pytest.mark.parametrize("path", [CURRENT, OLDER], ids=lambda path: path.stem)
def test_frozen_side_files_are_read(path: Path) -> None:
    """Scores give the NLL again, samples and parameters are there, with and without checksums."""
    run = store.read(path)
    first = run.records[0]
    scores, samples, params = run.scores(first), run.samples(first), run.params(first)
    assert scores is not None
    assert samples is not None
    assert params is not None
    assert sum(scores["test_sums"]) / sum(scores["test_lengths"]) == pytest.approx(
        0.9609126314279842, rel=1e-14
    )
    assert len(samples) == 500
    assert {name: array.shape for name, array in params.items()} == {"counts": (5, 5)}
    assert bool(first.side_files) is (path == CURRENT)


def test_what_a_newer_schema_adds_is_passed_over_and_named() -> None:
    """A status and a kind of line that we do not know cost their lines, with a warning that is no damage."""
    run = store.read(NEWER)
    assert [one.cell for one in run.records] == [0]
    assert [finding.state for finding in run.findings] == ["newer", "newer"]
    assert run.damage == []
    assert "line 3" in run.warnings[0]
    assert "line 4: left out, this harness knows harness.record/1" in run.warnings[1]


@pytest.mark.parametrize("path", [OLDER, NEWER], ids=lambda path: path.stem)
def test_another_schema_is_not_written(path: Path, tmp_path: Path) -> None:
    """An open file of another version is not continued, not even where the plan is the same."""
    copy = tmp_path / path.name
    shutil.copyfile(path, copy)
    before = copy.read_bytes()
    header = store.read(copy).header
    assert header.identity
    assert store.find_open(tmp_path, header.identity) is None
    assert store.resume(tmp_path, header.identity) is None
    with pytest.raises(StoreError, match=r"harness\.record/\d is read, not continued"):
        store.Writer(copy, header, resume=True)
    assert copy.read_bytes() == before


def test_the_frozen_folder_as_verify_sees_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Another version is no damage: exit 0, a line for each file that is not of today."""
    assert main(["verify", "--store", "--results", str(FROZEN)]) == 0
    printed = capsys.readouterr().out
    assert re.findall(r"^(\w+) +\S*/(2\d{3})0101.*is read, not continued$", printed, re.MULTILINE) == [
        ("older", "2025"),
        ("newer", "2027"),
    ]
    assert "3 run files, 5 cells, 5 side files as their checksums say, 5 readable without one" in printed


# ---- described


def test_the_committed_schema_is_the_generated_one() -> None:
    """docs/record.schema.json is what its command in results/README.md writes."""
    command = re.search(r"^python -c \"(.*)\" > docs/record\.schema\.json$", README, re.MULTILINE)
    assert command
    assert command[1] == (
        "import json; from harness import record; print(json.dumps(record.json_schema(), indent=1))"
    )
    assert record.json_schema() == SCHEMA


def test_the_schema_fits_what_is_written() -> None:
    """Every key of a frozen line is in the schema, and each that the schema asks for is in the line."""

    def fits(value: object, schema: dict[str, object]) -> None:
        if "$ref" in schema:
            return fits(value, SCHEMA["$defs"][str(schema["$ref"]).rpartition("/")[2]])
        if "anyOf" in schema and isinstance(value, dict):
            options: list[dict[str, object]] = schema["anyOf"]  # type: ignore[assignment]
            return fits(value, next(option for option in options if "$ref" in option))
        if isinstance(value, dict) and "properties" in schema:
            properties: dict[str, dict[str, object]] = schema["properties"]  # type: ignore[assignment]
            assert set(schema.get("required", ())) <= set(value) <= set(properties)  # type: ignore[call-overload]
            for key, inner in value.items():
                fits(inner, properties[key])
        return None

    lines = [json.loads(line) for line in CURRENT.read_bytes().splitlines()]
    kinds = {kind for line in lines for kind in line if kind != "checksum"}
    assert kinds == {"header", "cell", "end"}
    for line in lines:
        (schema,) = [option for option in SCHEMA["oneOf"] if set(option["required"]) == set(line)]
        fits(line, schema)


@pytest.mark.parametrize("name", SCHEMA["$defs"])
def test_every_key_is_described(name: str) -> None:
    """results/README.md has a section a structure, a row a key in its order, and no other rows."""
    section = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert section, name
    assert re.findall(r"^\| `(\w+)` \|", section[1], re.MULTILINE) == list(
        SCHEMA["$defs"][name]["properties"]
    )


# ---- the environment


def test_the_environment_is_an_allow_list() -> None:
    """Exactly the facts that results/README.md names, each of a plain type, within the time it promises."""
    section = README[README.index("## Environment") :]
    found = environment.describe(3)
    assert list(found) == re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert found["threads"] == 3
    assert set(found["packages"]) <= set(environment.PACKAGES)  # type: ignore[call-overload]
    assert json.loads(json.dumps(found)) == found


def test_the_noise_is_measured_in_a_twentieth_of_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that advances 8 ms a look: eight loops at least, and no more than 50 ms allow."""
    looks = iter(range(1000))
    seen: list[int] = []

    def clock() -> float:
        seen.append(next(looks))
        return 0.008 * seen[-1]

    monkeypatch.setattr(environment.time, "perf_counter", clock)
    assert environment.noise() == pytest.approx(0, abs=1e-9)  # every loop took one tick
    assert 2 * 8 <= len(seen) <= 2 * 8 + 3


def test_no_secret_is_in_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values of variables, the user's home and the host's name stand in no file of a run."""
    secrets = {
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMIK7MDENGbPxRfiCY",
        "GITHUB_TOKEN": "ghp_0123456789abcdefghij",
        "HF_TOKEN": "hf_ABCDEFGHIJKLMNOP",
        "DATABASE_URL": "postgres://someone:hunter22@db.example/x",
        "HARNESS_MADE_UP": "a-value-of-our-own-prefix",
        "HOME": str(tmp_path / "home-of-someone"),
        "HOSTNAME": "host-of-someone",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    result = harness.run("count-bigram", dataset="markov:documents=60", results=tmp_path / "results")
    files = [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert len(files) == 4
    node = os.uname().nodename
    for path in files:
        content = path.read_bytes() + path.name.encode()
        for name, value in {**secrets, "node": node if len(node) > 3 else "host-of-someone"}.items():
            assert value.encode() not in content, (path.name, name)
            assert name == "node" or name.encode() not in content, (path.name, name)
    assert result.records[0].environment["cores"] == os.cpu_count()


def test_the_commit_says_whether_files_have_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory's commit; `+dirty` once a tracked file differs; None outside of git."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment.commit() is None
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    (tmp_path / "file").write_text("one")
    for words in (["init", "-q"], ["add", "file"], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout
    (tmp_path / "untracked").write_text("")
    assert environment.commit() == head[:12]
    (tmp_path / "file").write_text("two")
    assert environment.commit() == f"{head[:12]}+dirty"


def test_the_frozen_files_are_whole() -> None:
    """Nothing in the folder is damaged, and nothing was changed by reading it."""
    assert not store_check.check(FROZEN).damaged
