"""The audit: every check finds the promise that is broken, and accuses nobody else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import audit, plan, registry, selection, split
from harness.certificate import Finding
from harness.engine import Engine
from harness.errors import HarnessError, UnknownName
from harness.moves import Move, Moves, different
from harness.subject import DOCUMENTS, STEPS, Subject, some, subject

PLUGIN = Path(__file__).parent / "promises.py"
DATA = "markov:documents=300,vocab=6"


@pytest.fixture(scope="module")
def processes() -> Iterator[Engine]:
    """One server for all tests of this file."""
    with Engine(1) as engine:
        yield engine


@pytest.fixture(scope="module")
def found() -> registry.Registry:
    """The built-in models and those of promises.py."""
    return registry.discover([PLUGIN])


def opened(found: registry.Registry, processes: Engine, model: str, data: str = DATA) -> Subject:
    """A subject on a small synthetic source."""
    dataset = plan.open_data(found, data)
    method = split.parse(dataset.default_split)
    choice = selection.one(found, model)
    return subject(dataset, method, choice, processes, plugins=(str(PLUGIN),))


@pytest.mark.parametrize("model", ["honest", "count-bigram", "mixture:of=count-bigram+uniform"])
def test_no_honest_model_is_accused(found: registry.Registry, processes: Engine, model: str) -> None:
    """Every check passes or says why it does not apply."""
    with opened(found, processes, model) as honest:
        results = list(audit.findings(honest, timeout=120))
    assert [finding.name for finding in results] == list(audit.CHECKS)
    assert [str(finding) for finding in results if finding.outcome == "fail"] == []
    assert all(finding.text for finding in results if finding.outcome == "n/a")


@pytest.mark.parametrize(
    ("model", "check", "said"),
    [
        ("shifted", "normalised", r"^T=1, row 0: log_probs: a row's probabilities sum to 1.01005, not 1$"),
        ("nansomewhere", "normalised", r"^T=\d+, row \d+: log_probs returned NaN$"),
        ("peeks", "causal", r"^boundaries: T=\d+, row 0, .*|^cut: T=1, row 0, ln p of character \d+ is -"),
        ("twofaced", "causal", r"^next_log_probs: T=1, row 0, ln p of character 0 is "),
        ("looksfortheend", "causal", r"^[a-z ]+: T=\d+, row 0, .* \(also: "),
        ("seesfar", "context", r"^replaced: T=2, row 1, .* \(also: cut away, replaced, next_log_probs\)$"),
        ("batchstatistics", "batch-independent", r"^alone: T=1, row 0, |^alone: T=\d+, row \d+, "),
        (
            "remembers",
            "stateless",
            r"^the same call again, next_log_probs: T=1, row 0, .* \(also: the same call again, ",
        ),
        ("writesinputs", "stateless", r"^log_probs wrote into its inputs: T=\d+, position \d+ is 1, was \d$"),
        ("learnswhilescored", "stateless", r"^scoring changed parameter 'law'\[0, 0\]: "),
        ("hashseed", "deterministic", r"^a second fit with the same seed differs in parameter 'hash'\[0\]: "),
        ("clocked", "deterministic", r"differs in parameter 'now'\[0\]: "),
        ("workingdirectory", "deterministic", r"differs in parameter 'where'"),
        (
            "keepsonce",
            "cold and warm agree",
            r"^after an earlier run rows are \S+ from those with an empty one$",
        ),
        ("ignoresseed", "seed honoured", r"^stochastic=True, but seeds 1 and 2 give the same model"),
        ("steady", "seed honoured", r"^stochastic=False, but seeds 1 and 2 in parameter 'law'\[0, 0\]: "),
        ("keepstoitself", "save, load", r"^loaded, next_log_probs: T=1, row 0, .* \(also: loaded\)$"),
        ("neverends", "alphabet", r"^no document can end: p = 0 after each of \d+ prefixes$"),
        ("disagrees", "backends agree", r"^other, next_log_probs: T=1, row 0, "),
    ],
)
def test_a_broken_promise_is_found(
    found: registry.Registry, processes: Engine, model: str, check: str, said: str
) -> None:
    """The check that names it fails, with its smallest counter-example in one line."""
    with opened(found, processes, model) as rogue:
        finding = audit.examine(rogue, check, 120)
    assert finding.outcome == "fail", finding
    assert re.search(said, finding.text), finding.text
    assert "\n" not in str(finding)


@pytest.mark.parametrize(
    ("model", "check", "said"),
    [
        ("undeclared", "context", "the promised context is unbounded"),
        ("undeclared", "seed honoured", "stochastic is not declared; all 3 seeds differ"),
        ("uniform", "seed honoured", ""),
        ("declared", "deterministic", "declared deterministic=False .*; two fits differ in parameter 'now'"),
        ("honest", "backends agree", "no other backend can run here"),
    ],
)
def test_what_does_not_apply_says_why(
    found: registry.Registry, processes: Engine, model: str, check: str, said: str
) -> None:
    """n/a with the reason, and where nothing is declared with what was seen."""
    with opened(found, processes, model) as honest:
        finding = audit.examine(honest, check, 120)
    assert finding.outcome == ("n/a" if said else "pass"), finding
    assert re.search(said, finding.text), finding.text


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("raises", "KeyError: 'no such thing' (promises.py:"),
        ("notfinite", "parameter 'law' is not finite after training"),
    ],
)
def test_a_fit_that_breaks_fails_every_check(
    found: registry.Registry, processes: Engine, model: str, said: str
) -> None:
    """With the reason that a run would give; the fit is tried once."""
    with opened(found, processes, model) as broken:
        results = [audit.examine(broken, name, 120) for name in ("normalised", "causal")]
        raised = []
        for _ in range(2):
            with pytest.raises(HarnessError, match=re.escape(said.partition(" (")[0])) as error:
                _ = broken.fitted
            raised.append(error.value)
    assert raised[0] is raised[1]
    assert [finding.outcome for finding in results] == ["fail", "fail"]
    assert all(said in finding.text for finding in results), results


@pytest.mark.parametrize("model", ["shifted", "misshapen"])
def test_one_broken_promise_is_one_failure(found: registry.Registry, processes: Engine, model: str) -> None:
    """Rows that are no distributions: other checks point there, but alone they say what they met."""
    names = ("causal", "stateless", "save, load")
    with opened(found, processes, model) as rogue:
        alone = audit.examine(rogue, "causal", 120)
    with opened(found, processes, model) as rogue:
        first, *others = audit.findings(rogue, ["normalised", *names], timeout=120)
    assert first.outcome == "fail"
    assert others == [Finding(name, "n/a", "see normalised") for name in names]
    assert alone.outcome == "fail"
    assert "log_probs" in alone.text


def test_a_model_that_hangs_has_failed(found: registry.Registry, processes: Engine) -> None:
    """After the limit of a check it is ended, and the next check has a new process."""
    with opened(found, processes, "hangs") as hanging:
        hanging.allow(120)
        assert hanging.fitted.params  # the fit itself is quick
        assert audit.examine(hanging, "causal", 1.0) == Finding("causal", "fail", "not done after 1 s")
        assert audit.examine(hanging, "deterministic", 120).outcome == "pass"


@pytest.mark.parametrize("check", ["normalised", "no test in fit"])
def test_a_model_that_ends_its_parent_fails(found: registry.Registry, check: str) -> None:
    """In processes forked here and in new interpreters; the audit itself goes on, with another server."""
    with Engine(1) as engine:
        for _ in range(2):
            with opened(found, engine, "endsitsparent") as rogue:
                finding = audit.examine(rogue, check, 60.0)
            said = "fit: the process that had started it was ended meanwhile"
            assert (finding.outcome, finding.text) == ("fail", said)


def test_checks_are_named_as_they_are_printed_or_typed() -> None:
    """Spaces and commas may be dashes; each once, all where none is named."""
    assert audit.named(["save-load", "causal", "save, load"]) == ["save, load", "causal"]
    assert audit.named([]) == list(audit.CHECKS)
    with pytest.raises(UnknownName, match="did you mean 'seed-honoured'"):
        audit.named(["seed-honored"])


# ---- the subject


def test_a_subject_is_small(found: registry.Registry, processes: Engine) -> None:
    """At most 2,000 documents in all, split as in a run, and at most 200 steps."""
    with opened(found, processes, "nn-bigram:steps=100000", "names") as small:
        parts = small.parts
        assert len(parts.train) + len(parts.dev.corpus) + len(parts.test.corpus) == DOCUMENTS
        assert 0 < small.steps <= STEPS
    with opened(found, processes, "nn-bigram:steps=7", "names") as smaller:
        assert smaller.steps == 7


def test_long_documents_are_fewer() -> None:
    """100,000 characters are enough, in the documents' order; running text is cut."""
    rng = np.random.default_rng(0)
    long = tuple(chr(97 + i % 26) * 1000 for i in range(3000))
    chosen = some(long, "lines", rng)
    assert len(chosen) == 100
    assert all(document in long for document in chosen)
    assert [len(text) for text in some(("x" * 10**6,), "text", rng)] == [100_000]


@pytest.mark.parametrize("afresh", [True, False])
def test_a_process_has_its_variables_and_working_directory(
    found: registry.Registry, processes: Engine, tmp_path: Path, afresh: bool
) -> None:
    """Where they are given: a new interpreter is started with them, a forked process takes them on."""
    environment = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path)}
    with opened(found, processes, "workingdirectory") as here:
        with here.process(environment=environment, cwd=tmp_path, afresh=afresh) as make:
            params = here.fit(make).params
        seen, *others = (bytes(params[name]).decode() for name in ("where", "home", "temporary"))
        assert seen == str(tmp_path.resolve())
        assert others == list(environment.values())
        assert bytes(here.fitted.params["where"]).decode() != seen


# ---- counter-examples


def brute_force(rows: Any, again: Any, tolerance: float) -> tuple[int, int] | None:
    """The first position that moved, and the character, by plain loops over (position, document, V)."""
    b, t, v = rows.shape
    for position in range(t):
        for document in range(b):
            for token in range(v):
                x, y = rows[document, position, token], again[document, position, token]
                if x != y and not abs(x - y) <= tolerance * max(1.0, min(abs(x), abs(y))):
                    return position, token
    return None


@pytest.mark.parametrize("seed", range(20))
def test_the_smallest_counter_example_is_the_first_that_plain_loops_find(seed: int) -> None:
    """By position, then by document and character; −inf equals −inf."""
    rng = np.random.default_rng(seed)
    rows = -rng.exponential(2.0, (3, 4, 5))
    rows[0, 0, 0] = -np.inf
    again = rows * np.where(rng.random(rows.shape) < 0.05, 1 + 3e-4, 1 + 3e-5)
    moves = Moves(1e-4)
    moves.compare(rows, again, "another way", 9, 2)
    expected = brute_force(rows, again, 1e-4)
    assert [(m.position, m.token, m.length) for m in moves.found] == (
        [] if expected is None else [(2 + expected[0], expected[1], 9)]
    )


def test_of_several_moves_the_shortest_is_shown() -> None:
    """Smallest T, then smallest position; the other ways are named."""
    moves = Moves(1e-4)
    for how, length, position in (("cut", 5, 0), ("random", 3, 2), ("boundaries", 3, 1)):
        again = np.full((1, 3, 2), -1.0)
        again[0, position] = -2.0
        moves.compare(np.full((1, 3, 2), -1.0), again, how, length)
    assert str(moves.finding("causal", "2 documents")) == (
        "causal: fail – boundaries: T=3, row 1, ln p of character 0 is -2, was -1 (also: cut, random)"
    )


def test_a_difference_beyond_six_digits_is_shown_in_full() -> None:
    """A counter-example never reads `is −1, was −1`."""
    assert str(Move(1, 0, 3, -1.0, -1.00000001, "again")).endswith("is -1.00000001, was -1.0")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"a": np.zeros(3)}, {"a": np.zeros(3)}, None),
        ({"a": np.array([np.nan])}, {"a": np.array([np.nan])}, None),
        ({"a": np.zeros(3)}, {}, "parameter 'a', which is in one of the two only"),
        ({"a": np.zeros(3)}, {"a": np.zeros(3, np.float32)}, "parameter 'a': float32 (3,), was float64 (3,)"),
        ({"a": np.array([0.0])}, {"a": np.array([-0.0])}, "parameter 'a': the bits of a zero or NaN"),
    ],
)
def test_parameters_are_compared_to_the_bit(
    before: dict[str, Any], after: dict[str, Any], said: str | None
) -> None:
    """Names, types, shapes and every byte."""
    assert different(before, after) == said


def test_the_first_parameter_that_changed_is_shown() -> None:
    """With its index and the two values."""
    said = different({"a": np.zeros((2, 2))}, {"a": np.array([[0.0, 0.0], [0.0, 3.5]])})
    assert said is not None
    assert re.fullmatch(r"parameter 'a'\[1, 1\]: .*3\.5.*, was .*0\.0.*", said)
