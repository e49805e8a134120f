"""`check_code_length`: honest models pass, and whoever cannot be written with does not."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import plan, registry, selection, split
from harness import subject as subjects
from harness.checks_law import check_code_length, stretch
from harness.engine import Engine
from harness.subject import Finding, Subject

BAD = '''
import os
import numpy as np
from harness import Model, ModelSpec, hookimpl

class Even(Model):
    def fit(self, train, dev, trial):
        self.params["nothing"] = np.zeros(1)
    def log_probs(self, inputs):
        return self.bend(np.zeros((*inputs.shape, self.vocab_size)))
    def bend(self, logits):
        return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)

class Restless(Even):
    """Another law in every process."""
    def bend(self, logits):
        return super().bend(logits + np.random.default_rng(os.getpid()).normal(0, 2, logits.shape[-1]))

class Learner(Even):
    """Longer prefixes tell it what followed the shorter ones: it knows that on the second reading."""
    def next_log_probs(self, inputs):
        self.seen = getattr(self, "seen", {})
        logits = np.zeros((len(inputs), self.vocab_size))
        for row, prefix in zip(logits, inputs.tolist()):
            self.seen.setdefault(tuple(prefix[:-1]), set()).add(prefix[-1])
            row[list(self.seen.get(tuple(prefix), ()))] += 3
        return self.bend(logits)

@hookimpl
def harness_models():
    return [ModelSpec(kind.__name__.lower(), {"numpy": kind}) for kind in (Even, Restless, Learner)]
'''


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """The server that all subjects of this file share."""
    with Engine(1) as processes:
        yield processes


def checked(engine: Engine, model: str, data: str, kind: str | None = None) -> tuple[Finding, Subject]:
    """What the check finds, and of what."""
    Path("bad.py").write_text(BAD)
    found = registry.discover([Path("bad.py")])
    opened = plan.open_data(found, data, kind)  # type: ignore[arg-type]
    choice = selection.one(found, model)
    plugins = (str(Path("bad.py").resolve()),)
    made = subjects.subject(
        opened, split.parse(opened.default_split), choice, engine, plugins=plugins, seed=1
    )
    with made:
        return check_code_length(made), made


def test_an_honest_model_passes(engine: Engine) -> None:
    """200 held-out documents come back; the bits are those of the NLL, and both are said."""
    finding, subject = checked(engine, "nn-bigram", "names")
    assert finding.outcome == "pass"
    assert finding.name == "code length is real"
    said = re.fullmatch(r"([\d,]+) bits for ([\d,]+) characters, NLL/ln 2 is ([\d,.]+)", finding.text)
    assert said
    bits, characters, nll = (float(figure.replace(",", "")) for figure in said.groups())
    corpus = stretch(subject)
    assert len(corpus) == 200
    assert characters == corpus.targets
    assert abs(bits - nll) < 12
    assert 2.5 < bits / characters < 6


def test_running_text_is_written_from_its_start(engine: Engine) -> None:
    """The first 384 characters of test, over the first move of a window."""
    Path("prose.txt").write_text("to be or not to be that is the question\n" * 200)
    finding, subject = checked(engine, "ngram", "file:prose.txt", "text")
    assert finding.outcome == "pass", finding.text
    assert " 384 characters" in finding.text
    assert stretch(subject).text(0) == subject.parts.test.corpus.text(0)[:384]


def test_p_0_is_not_applicable_and_named(engine: Engine) -> None:
    """A count without smoothing has no code for a pair it has not seen; the line says which."""
    Path("lines.txt").write_text("".join(f"{a}{b}\n" for a in "abcdefgh" for b in "ijklmnop"))
    finding, _ = checked(engine, "count-bigram:k=0", "file:lines.txt")
    assert finding.outcome == "n/a"
    assert re.fullmatch(r"p = 0 on a target: '[i-p]' after '[a-h]' in document \d+", finding.text)


def test_another_law_in_each_process_fails(engine: Engine) -> None:
    """The reader's rows are not the writer's: the line shows where the texts part."""
    finding, _ = checked(engine, "restless", "names")
    assert finding.outcome == "fail"
    assert re.match(r"the text does not come back: (document \d+ is '|the code does not fit)", finding.text)


def test_a_model_that_learns_while_it_is_asked_fails(engine: Engine) -> None:
    """Its NLL of the second reading is none that the first can be written in."""
    finding, subject = checked(engine, "learner", "names")
    assert finding.outcome == "fail"
    assert re.search(r"bits for .* at most [\d,.]+ allowed$", finding.text)
    bits = float(finding.text.split()[0].replace(",", ""))
    assert bits == pytest.approx(stretch(subject).targets * math.log2(27), rel=0.01)
