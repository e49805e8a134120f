"""`harness.testing`: the audit's checks as named cases of an author's pytest suite."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness import audit
from harness.contract import ModelSpec
from harness.errors import UnknownName
from harness.testing import parametrize_with_checks

PROMISES = Path(__file__).parent / "promises.py"
DATA = "markov:documents=300,vocab=6"

SUITE = f"""
from harness.testing import parametrize_with_checks

@parametrize_with_checks(
    ["honest", "peeks"], plugin={str(PROMISES)!r}, dataset={DATA!r},
    expected_failures={{"causal": "looks one character ahead"}},
)
def test_promises(check):
    check()
"""


def cases(mark: pytest.MarkDecorator) -> dict[str, list[str]]:
    """Id of a case -> reasons of its expected failure."""
    return {str(case.id): [m.kwargs["reason"] for m in case.marks] for case in mark.args[1]}


def test_every_check_of_every_model_is_a_case() -> None:
    """Named by model and check, in the certificate's order; grids and backends as of `--models`."""
    mark = parametrize_with_checks(["mlp@numpy:hidden=4/5", "honest"], plugin=PROMISES)
    labels = ["mlp@numpy:hidden=4", "mlp@numpy:hidden=5", "honest@numpy"]
    assert list(cases(mark)) == [f"{label}: {name}" for label in labels for name in audit.CHECKS]


def test_a_spec_stands_for_its_model() -> None:
    """A `ModelSpec` that the plugin offers is as good as its name."""
    mark = parametrize_with_checks([ModelSpec("honest", {})], plugin=[str(PROMISES)])
    assert len(cases(mark)) == len(audit.CHECKS)


def test_expected_failures_have_their_reason() -> None:
    """Strict: what passes after all is a failure of the suite."""
    mark = parametrize_with_checks(["uniform"], expected_failures={"causal": "because"})
    marked = {name: reasons for name, reasons in cases(mark).items() if reasons}
    assert marked == {"uniform@numpy: causal": ["because"]}
    assert all(m.kwargs["strict"] for case in mark.args[1] for m in case.marks)


@pytest.mark.parametrize(
    ("models", "expected", "said"),
    [
        (["uniform"], {"casual": "x"}, "unknown check 'casual' of expected_failures; did you mean 'causal'?"),
        (["nosuch"], {}, "unknown model 'nosuch'"),
    ],
)
def test_an_unknown_name_is_an_error(models: list[str], expected: dict[str, str], said: str) -> None:
    """A misspelt exception would excuse nothing and hide that it does not."""
    with pytest.raises(UnknownName, match=re.escape(said)):
        parametrize_with_checks(models, expected_failures=expected)


def test_a_suite_reports_what_the_audit_finds(tmp_path: Path) -> None:
    """pass, skip with the reason, xfail with the written one; an exception that is not needed fails."""
    file = tmp_path / "test_promises.py"
    file.write_text(SUITE)
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", "-rsxXf", str(file)]
    words += ["-k", "causal or context or backends"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=os.environ.copy())
    said = done.stdout
    assert re.search(r"1 failed, \d+ passed, 2 skipped, .*1 xfailed", said), said
    assert "[XPASS(strict)] looks one character ahead" in said  # honest keeps the promise
    assert re.search(r"XFAIL .*peeks@numpy: causal.*looks one character ahead", said)
    assert "no other backend can run here" in said
