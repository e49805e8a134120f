"""The proofs of the store in short: its promises hold under attack, and a planted bug would show."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).parent / "simulations" / "store.py"
ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork") or not Path("/proc/self/fd").is_dir(), reason="the attacks need fork and /proc"
)


@cache
def proof() -> Any:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("store_attacks", PATH)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["store_attacks"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


NAMES = ("kills", "runs", "faults", "power", "mutations", "writers")


@pytest.mark.parametrize("name", NAMES)
def test_every_promise_is_kept(name: str) -> None:
    """Nothing acknowledged is lost, stands twice or is invented; the same command completes the run."""
    cases, found = proof().attack(name, proof().SHORT)
    assert cases >= 1
    assert found == []


@pytest.mark.parametrize("number", range(17))
def test_every_planted_bug_is_caught(number: int) -> None:
    """With one protection of the store off, the attack that is named for it finds a broken promise."""
    bug = proof().BUGS[number]
    _, found = proof().noticed(bug)
    assert found, bug.what


def test_the_attacks_and_bugs_are_all_run_here() -> None:
    """No attack and no bug of the script is left out of the short form, or of the docs' table."""
    assert set(NAMES) == set(proof().ATTACKS)
    assert len(proof().BUGS) == 17
    table = (ROOT / "docs" / "verify.md").read_text(encoding="utf-8")
    for attack in proof().ATTACKS.values():
        assert re.search(rf"^\| {attack.what} \| [\d,]+ \| every promise kept \|", table, re.MULTILINE)
    for bug in proof().BUGS:
        assert f"| {bug.what} | {proof().ATTACKS[bug.attack].what} |" in table
