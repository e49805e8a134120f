"""`harness.score`: models that exist already, on the protocol of the table."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness import runner
from harness.errors import InvalidModel, UsageError

MARKOV = "markov:documents=400"


def bigram_table() -> np.ndarray[Any, Any]:
    """Some logits (27, 27), not normalised."""
    return np.random.default_rng(5).standard_normal((27, 27))


def brute_force(table: np.ndarray[Any, Any]) -> float:
    """Test NLL of a table of bigram logits in plain Python."""
    made = runner.plan("uniform", data=MARKOV)
    corpus = made.split_for(made.cells[0].choice).test.corpus
    total, count = 0.0, 0
    for document in range(len(corpus)):
        tokens = [0, *corpus.alphabet.encode(corpus.text(document)).tolist(), 0]
        for before, after in itertools.pairwise(tokens):
            row = [math.exp(value) for value in table[before]]
            total -= math.log(row[after] / sum(row))
            count += 1
    return total / count


def test_a_function_on_windows() -> None:
    """(N, context) -> (N, V) logits are normalised and scored as brute force does."""
    table = bigram_table()
    record = harness.score(lambda windows: table[windows[:, -1]], context=2, dataset=MARKOV)
    assert record.metrics.test_nll == pytest.approx(brute_force(table), abs=1e-12)
    assert record.status == "ok"
    assert record.absent["train_s"] == "fitted outside the harness"


def test_a_function_on_sequences() -> None:
    """(B, T) -> (B, T, V) logits give the same score."""
    table = bigram_table()
    record = harness.score(lambda inputs: table[inputs], dataset=MARKOV)
    assert record.metrics.test_nll == pytest.approx(brute_force(table), abs=1e-12)


def test_a_torch_module_is_scored_in_evaluation_mode() -> None:
    """Dropout is off while a module is scored, and its mode is put back."""
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(
        torch.nn.Embedding(27, 16), torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(48, 27)
    )
    first, second = (harness.score(module, context=3, dataset=MARKOV).metrics.test_nll for _ in range(2))
    assert first == second
    assert module.training


def test_a_function_that_needs_tensors() -> None:
    """A function that cannot take numpy arrays is given tensors."""
    torch = pytest.importorskip("torch")
    table = torch.tensor(bigram_table())

    def logits(windows: Any) -> Any:
        return torch.nn.functional.one_hot(windows[:, -1], 27).double() @ table

    record = harness.score(logits, context=1, dataset=MARKOV)
    assert record.metrics.test_nll == pytest.approx(brute_force(table.numpy()), abs=1e-9)


def test_a_model_of_the_contract(tmp_path: Path) -> None:
    """A loaded model scores as it did in its run."""
    result = harness.run("mlp:steps=20", dataset=MARKOV, results=tmp_path)
    (model,) = result.models.values()
    record = harness.score(model, dataset=MARKOV)
    assert record.metrics.test_nll == pytest.approx(result.records[0].metrics.test_nll, abs=1e-12)


def test_loading_a_run_gives_back_its_models(tmp_path: Path) -> None:
    """`harness.load` rebuilds models whose rows are those of the run, from the stored parameters."""
    result = harness.run("count-bigram,mlp:steps=20", dataset=MARKOV, results=tmp_path)
    loaded = harness.load("latest", results=tmp_path)
    inputs = np.array([[0, 3, 9, 1]])
    assert list(loaded.models) == ["count-bigram@numpy", "mlp steps=20@numpy"]
    for name, model in loaded.models.items():
        assert np.array_equal(model.log_probs(inputs), result.models[name].log_probs(inputs))


def test_shapes_that_do_not_fit_are_named() -> None:
    """A wrong V or a forgotten context is one line that says what was expected."""
    with pytest.raises(UsageError, match=r"expected \(N, context\) -> \(N, V\) with V = 27"):
        harness.score(lambda windows: np.zeros((len(windows), 26)), context=3, dataset=MARKOV)
    with pytest.raises(UsageError, match="for windows give context"):
        harness.score(lambda windows: np.zeros((len(windows), 27)), dataset=MARKOV)


def test_rows_that_are_no_distribution_are_refused() -> None:
    """NaN logits are named, not averaged."""
    with pytest.raises(InvalidModel, match="NaN"):
        harness.score(lambda inputs: np.full((*inputs.shape, 27), np.nan), dataset=MARKOV)


def test_a_function_that_reads_the_future_is_refused() -> None:
    """Whole rows must equal prefixes alone: a leak is found on sampled documents."""

    def leak(inputs: Any) -> Any:
        rows = np.zeros((*inputs.shape, 27))
        ahead = np.roll(inputs, -1, axis=1)
        np.put_along_axis(rows, ahead[..., None], 9.0, axis=2)
        return rows

    with pytest.raises(InvalidModel, match="differs from next_log_probs"):
        harness.score(leak, dataset=MARKOV)


def test_a_record_shows_itself_in_a_notebook() -> None:
    """The rich display holds the score and escapes a hostile name."""

    def evil(inputs: Any) -> Any:
        return np.zeros((*inputs.shape, 27))

    evil.__name__ = "<script>alert(1)</script>"
    shown = harness.score(evil, dataset=MARKOV)._repr_html_()
    assert "3.2958" in shown
    assert "<script>" not in shown
