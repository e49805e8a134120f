"""The checks of `harness audit` as named cases of a pytest suite: for authors of plugins.

from harness.testing import parametrize_with_checks

@parametrize_with_checks(["my-model"], expected_failures={"deterministic": "sums on two threads"})
def test_my_model(check):
    check()
"""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness import audit, plan, registry, selection
from harness import split as splits
from harness.contract import ModelSpec
from harness.engine import Engine
from harness.errors import UnknownName
from harness.subject import Subject, subject

Plugins = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


class CheckFailed(AssertionError):
    """A check of the contract that a model does not pass; the text is its counter-example."""


@dataclass(eq=False)
class Held:
    """A model under audit, opened for its first check and kept until the interpreter's end."""

    found: registry.Registry = field(repr=False)
    choice: selection.Choice
    plugins: tuple[str, ...]
    dataset: str
    method: str | None
    seed: int
    _opened: Subject | None = field(default=None, init=False)

    def subject(self) -> Subject:
        """The subject that all checks of this model share."""
        if self._opened is None:
            data = plan.open_data(self.found, self.dataset)
            method = splits.parse(data.default_split if self.method is None else self.method)
            house = contextlib.ExitStack()
            atexit.register(house.close)
            processes = house.enter_context(Engine(1))
            made = subject(data, method, self.choice, processes, plugins=self.plugins, seed=self.seed)
            self._opened = house.enter_context(made)
        return self._opened


@dataclass(frozen=True)
class BoundCheck:
    """One check of one model; calling it raises `CheckFailed`, or skips where it does not apply."""

    held: Held
    name: str
    timeout: float | None

    def __call__(self) -> None:
        """Make the check."""
        __tracebackhide__ = True
        finding = audit.examine(self.held.subject(), self.name, self.timeout)
        if finding.outcome == "n/a":
            pytest.skip(finding.text)
        if finding.outcome == "fail":
            raise CheckFailed(str(finding))


def parametrize_with_checks(
    models: Sequence[str | ModelSpec],
    *,
    plugin: Plugins = (),
    expected_failures: Mapping[str, str] | None = None,
    dataset: str = "names",
    split: str | None = None,
    seed: int = 0,
    timeout: float | None = 300.0,
) -> pytest.MarkDecorator:
    """A mark that calls a test once for every check of every model, with the argument `check`.

    models: selections as of `--models`, or specs of installed plugins and of `plugin`, a file or
    several. expected_failures: name of a check -> why it is known to fail; such a case is reported as
    xfail with the reason, and one that passes after all is a failure. timeout: seconds a check.
    Raises `UnknownName` where an expected failure or a model is none.
    """
    expected = dict(expected_failures or {})
    for name in expected:
        if name not in audit.CHECKS:
            raise UnknownName("check", name, audit.CHECKS, where=" of expected_failures")
    files = [plugin] if isinstance(plugin, str | os.PathLike) else list(plugin)
    found = registry.discover([Path(file) for file in files])
    names = [each.name if isinstance(each, ModelSpec) else each for each in models]
    paths = tuple(str(Path(file).resolve()) for file in files)
    cases = []
    for choice in selection.choose(found, names):
        held = Held(found, choice, paths, dataset, split, seed)
        for name in audit.CHECKS:
            xfail = pytest.mark.xfail(reason=expected.get(name, ""), strict=True, raises=CheckFailed)
            cases.append(
                pytest.param(
                    BoundCheck(held, name, timeout),
                    id=f"{choice.label}: {name}",
                    marks=[xfail] if name in expected else [],
                )
            )
    return pytest.mark.parametrize("check", cases)
