"""The checkout itself: linters, types, pins, and what must not be in it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LARGEST = 1_000_000  # bytes


@pytest.mark.parametrize(
    "command",
    [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]],
    ids=["ruff check", "ruff format", "mypy"],
)
def test_linters_and_types_are_clean(command: list[str]) -> None:
    """The command, run from the root as CI does, has nothing to say."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# ---- pins


def required() -> list[Requirement]:
    """Every dependency of pyproject.toml and of its extras, ourselves left out."""
    extras = PROJECT["optional-dependencies"].values()
    listed = [Requirement(text) for group in (PROJECT["dependencies"], *extras) for text in group]
    return [requirement for requirement in listed if requirement.name != PROJECT["name"]]


def pinned() -> dict[str, Requirement]:
    """The lines of constraints.txt by normalised name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    listed = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    names = [canonicalize_name(requirement.name) for requirement in listed]
    assert len(set(names)) == len(names)
    return dict(zip(names, listed, strict=True))


def version_of(pin: Requirement) -> str:
    """The version that `==` names."""
    (specifier,) = pin.specifier
    assert specifier.operator == "=="
    return specifier.version


@pytest.mark.parametrize("name", sorted(pinned()))
def test_a_constraint_is_one_exact_version(name: str) -> None:
    """`name==version`, without wildcard, marker, extra or address."""
    pin = pinned()[name]
    assert re.fullmatch(r"\d[\w.!+]*", version_of(pin))
    assert pin.marker is None
    assert pin.extras == set()
    assert pin.url is None


@pytest.mark.parametrize("requirement", required(), ids=str)
def test_every_requirement_is_pinned_within_its_bounds(requirement: Requirement) -> None:
    """What is tested is what is promised: a pin for each, at or above its lower bound."""
    pin = pinned()[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version_of(pin))


@pytest.mark.parametrize("requirement", required(), ids=str)
def test_every_requirement_has_a_lower_bound(requirement: Requirement) -> None:
    """A dependency without one promises versions that nobody has tried."""
    assert [specifier.operator for specifier in requirement.specifier] == [">="]


def test_the_extra_all_names_extras_that_exist() -> None:
    """`pip install nextchar-harness[all]` installs what its parts would."""
    extras = PROJECT["optional-dependencies"]
    (everything,) = (Requirement(text) for text in extras["all"])
    assert everything.name == PROJECT["name"]
    assert everything.extras
    assert everything.extras <= set(extras)


# ---- what is tracked


@cache
def tracked() -> list[Path]:
    """The files that git tracks; skips outside a checkout."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    done = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if done.returncode != 0:
        pytest.skip(f"git ls-files: {done.stderr.decode(errors='replace')}")
    files = [ROOT / name.decode() for name in done.stdout.split(b"\0") if name]
    return [path for path in files if path.is_file()]


def test_no_tracked_file_is_large() -> None:
    """A clone stays small: no file above 1 MB."""
    assert [path.name for path in tracked() if path.stat().st_size > LARGEST] == []


def test_no_tracked_file_holds_a_developers_paths() -> None:
    """Nothing points into somebody's home folder, nor to where this checkout happens to be."""
    homes = [b"/" + name + rb"/\w" for name in (b"home", b"root", b"Users")]
    places = re.compile(b"|".join([*homes, re.escape(str(ROOT).encode()) + rb"\b"]))
    found = [
        f"{path.relative_to(ROOT)}: {match.group().decode(errors='replace')}"
        for path in tracked()
        for match in [places.search(path.read_bytes())]
        if match
    ]
    assert found == []


def test_no_tracked_file_is_the_lectures_data() -> None:
    """Text whose source states no licence is downloaded, never carried along."""
    assert [
        path.name for path in tracked() if path.name in ("makemore-names.txt", "tinyshakespeare.txt")
    ] == []
