"""The figures that the lectures published, on their own data (makemore-names)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import harness
from harness import Trial, runner
from harness.record import Record
from harness_plugins.nn_bigram import NeuralBigram, loss_and_gradient, torch_randn


def only(models: str, tmp_path: Path, **options: str) -> Record:
    """The record of one cell."""
    (record,) = harness.run(models, results=tmp_path, **options).records  # type: ignore[arg-type]
    assert record.status == "ok", record.reason
    return record


def test_the_data_is_that_of_the_lectures(makemore_path: Path) -> None:
    """32,033 lines, 29,494 distinct, 26 letters, longest 15, 228,146 targets with ends."""
    data = runner.plan("uniform", data="makemore-names").dataset
    assert len(data.documents) == 32_033
    assert len(set(data.documents)) == 29_494
    assert len(data.alphabet.characters) == 26
    assert max(len(name) for name in data.documents) == 15
    assert sum(len(name) + 1 for name in data.documents) == 228_146


@pytest.mark.parametrize(("k", "nll"), [("0", 2.4540145), ("1", 2.4545768)])
def test_count_bigram_on_all_data(makemore_path: Path, tmp_path: Path, k: str, nll: float) -> None:
    """The in-sample NLL of the counting bigram, k = 0 and k = 1, to seven digits."""
    record = only(f"count-bigram:k={k}", tmp_path, dataset="makemore-names", split="all")
    assert record.metrics.test_nll == pytest.approx(nll, abs=5e-8)
    assert record.metrics.train_nll == pytest.approx(nll, abs=5e-8)


def test_count_bigram_on_the_lecture_split(makemore_path: Path, tmp_path: Path) -> None:
    """k = 1: dev 2.4533, test 2.4584, on 22,655 and 22,866 targets."""
    record = only("count-bigram", tmp_path, dataset="makemore-names", split="lecture")
    assert record.data.documents == {"train": 25_626, "dev": 3_203, "test": 3_204}
    assert record.data.targets == {"train": 182_625, "dev": 22_655, "test": 22_866}
    assert record.data.overlap == {"dev": 424, "test": 377}
    assert record.metrics.dev_nll == pytest.approx(2.4533, abs=5e-5)
    assert record.metrics.test_nll == pytest.approx(2.4584, abs=5e-5)


def test_count_bigram_without_smoothing_is_infinite(makemore_path: Path, tmp_path: Path) -> None:
    """k = 0 meets 5 targets of dev and 4 of test with p = 0; the metrics are null, the cell is ok."""
    record = only("count-bigram:k=0", tmp_path, dataset="makemore-names", split="lecture")
    assert record.metrics.zero_probability == {"train": 0, "dev": 5, "test": 4}
    assert record.metrics.dev_nll is None
    assert record.metrics.test_nll is None


def test_nn_bigram_follows_the_lecture_step_by_step(makemore_path: Path) -> None:
    """The penalised loss is 2.49013 after 99 updates, 2.48300 after 199; 2.46528 without it at 200."""
    made = runner.plan("nn-bigram:preset=lecture", data="makemore-names", method="all")
    choice = made.cells[0].choice
    train = made.split_for(choice).train
    losses: list[float] = []

    def note(done: int, total: int, scalars: Mapping[str, float]) -> None:
        losses.append(scalars["loss"])

    model = NeuralBigram(27, choice.config, np.random.default_rng(0))
    model.fit(train, train, Trial(steps=200, on_progress=note))
    assert len(losses) == 200
    assert losses[99] == pytest.approx(2.49013, abs=5e-6)
    assert losses[199] == pytest.approx(2.48300, abs=5e-6)
    assert harness.score(model, context=1, dataset="makemore-names", split="all").metrics.test_nll == (
        pytest.approx(2.46528, abs=5e-6)
    )


def test_lecture_weights_are_those_of_torch() -> None:
    """`torch_randn` gives the numbers of `torch.randn`, for sizes on and off the block of 16."""
    torch = pytest.importorskip("torch")
    for size in (16, 17, 31, 32, 729):
        expected = torch.randn(size, generator=torch.Generator().manual_seed(2147483647))
        assert np.allclose(torch_randn(2147483647, size), expected.numpy(), atol=2e-6)


def test_gradients_on_counts_are_those_of_one_hot_rows(makemore_names: tuple[str, ...]) -> None:
    """Loss and gradient from the count matrix equal torch's from one-hot rows of every pair."""
    torch = pytest.importorskip("torch")
    pairs = [(a, b) for name in makemore_names[:500] for a, b in zip("." + name, name + ".", strict=True)]
    code = {character: index for index, character in enumerate(".abcdefghijklmnopqrstuvwxyz")}
    xs = torch.tensor([code[a] for a, _ in pairs])
    ys = torch.tensor([code[b] for _, b in pairs])
    weights = torch.randn(27, 27, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    weights.requires_grad_()
    logits = torch.nn.functional.one_hot(xs, 27).double() @ weights
    loss = torch.nn.functional.cross_entropy(logits, ys) + 0.01 * (weights**2).mean()
    loss.backward()
    counts = np.zeros((27, 27))
    for a, b in pairs:
        counts[code[a], code[b]] += 1
    ours, gradient = loss_and_gradient(weights.detach().numpy(), counts, 0.01)
    assert ours == pytest.approx(loss.item(), abs=1e-12)
    assert weights.grad is not None
    assert np.allclose(gradient, weights.grad.numpy(), atol=1e-13)


def test_count_bigram_is_within_a_hundredth_of_the_true_source(tmp_path: Path) -> None:
    """On the Markov source no model is surely below the truth, and counting is within 0.01 nats."""
    result = harness.run(
        "uniform,count-bigram,nn-bigram",
        dataset="markov:order=1,vocab=27,seed=0,documents=20000",
        results=tmp_path,
    )
    for record in result.records:
        assert record.metrics.excess is not None
        assert record.metrics.excess_half is not None
        assert record.metrics.excess + record.metrics.excess_half > 0
    counted = result.records[1].metrics.excess
    assert counted is not None
    assert counted < 0.01
    assert "WARNING" not in str(result)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_mlp_of_the_lecture(makemore_path: Path, tmp_path: Path) -> None:
    """context 3, embedding 10, hidden 200, 200,000 compiled steps of 32: dev 2.15 to 2.18, three seeds."""
    pytest.importorskip("numba")
    records = harness.run(
        "mlp@numba:preset=lecture",
        dataset="makemore-names",
        split="lecture",
        seeds=3,
        jobs=2,
        results=tmp_path,
    ).records
    assert {record.parameters for record in records} == {11_897}
    found = [record.metrics.dev_nll for record in records]
    assert len(found) == 3
    assert 2.15 <= sum(nll for nll in found if nll is not None) / 3 <= 2.18
