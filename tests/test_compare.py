"""The order and the ranks of a table, against differences worked out here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from scipy import stats

from harness.compare import Standing, standings
from harness.record import Data, Metrics, Plugin, Record

G, LENGTH = 100, 6
Arrays = Mapping[str, Any]


def record(cell: int, test: float | None = None, **changes: Any) -> Record:
    """One cell with a test NLL."""
    in_sample = changes.pop("in_sample", False)
    metrics = changes.pop("metrics", Metrics(test_nll=test))
    fields: dict[str, Any] = {"status": "ok", "metrics": metrics} | changes
    return Record(
        run_id="run",
        cell=cell,
        model=f"model-{cell}",
        backend="numpy",
        options={},
        config={},
        dataset="names",
        split="grouped",
        repeat=0,
        seed=0,
        budget="default",
        data=Data(
            dataset_sha256="",
            split_fingerprint="",
            vocabulary=27,
            documents={},
            targets={},
            overlap={},
            in_sample=in_sample,
        ),
        plugin=Plugin(distribution="d", version="1"),
        **fields,
    )


def infinite(cell: int, dev: float | None = None, **changes: Any) -> Record:
    """One cell whose test part holds targets with p = 0."""
    return record(cell, metrics=Metrics(dev_nll=dev, zero_probability={"test": 3}), **changes)


def scores(*means: float, units: Any = None) -> Callable[[Record], Arrays]:
    """Per-document scores of models with these NLL, by cell: common documents, a little noise each."""
    rng = np.random.default_rng(0)
    common = 0.5 * rng.standard_normal(G)
    kept = []
    for mean in means:
        noise = common + 0.02 * rng.standard_normal(G)
        kept.append(
            {
                "test_sums": LENGTH * (mean + noise - noise.mean()),
                "test_lengths": np.full(G, LENGTH),
                "test_units": np.arange(G) if units is None else units,
            }
        )
    return lambda record: kept[record.cell]


def cells(rows: list[Standing]) -> list[int]:
    """Which cells stand in which order."""
    return [row.record.cell for row in rows]


def test_rows_are_ordered_by_test_nll() -> None:
    """Best first, whatever the order of the cells, and equal ones by cell."""
    records = [record(3, 2.5), record(0, 2.5), record(2, 2.1), record(1, 2.3)]
    assert cells(standings(records, lambda record: None)) == [2, 1, 0, 3]


def test_dev_orders_nothing() -> None:
    """A model that is best on dev and worst on test stands last."""
    records = [
        record(0, metrics=Metrics(test_nll=2.5, dev_nll=1.0)),
        record(1, metrics=Metrics(test_nll=2.4, dev_nll=2.0)),
    ]
    assert cells(standings(records, lambda record: None)) == [1, 0]


def test_ranks_are_paired_and_tied() -> None:
    """Two that cannot be told apart share the first rank, the next is third."""
    means = (2.3, 2.1, 2.1005)
    rows = standings([record(i, mean) for i, mean in enumerate(means)], scores(*means))
    assert cells(rows) == [1, 2, 0]
    assert [row.rank for row in rows] == [1, 1, 3]


def test_each_row_says_how_far_it_is_behind_the_best() -> None:
    """The difference on the same documents with the interval of scipy's paired t test; the best has none."""
    means = (2.3, 2.1, 2.2)
    kept = scores(*means)
    rows = standings([record(i, mean) for i, mean in enumerate(means)], kept)
    assert rows[0].behind is None
    best = kept(rows[0].record)["test_sums"] / LENGTH
    for row, distance in zip(rows[1:], (0.1, 0.2), strict=True):
        expected = stats.ttest_rel(kept(row.record)["test_sums"] / LENGTH, best)
        low, high = expected.confidence_interval(0.95)
        assert row.behind is not None
        assert row.behind.nats == pytest.approx(distance)
        assert row.behind.half == pytest.approx((high - low) / 2)
        assert row.behind.units == G


def test_documents_unseen_in_train_are_compared_apart() -> None:
    """On the documents of each kind alone, with the interval of scipy's paired t test on those."""
    kept = scores(2.1, 2.2)
    seen = np.arange(G) % 4 == 0
    marked = [dict(kept(record(cell))) | {"test_seen": seen} for cell in (0, 1)]
    _, row = standings([record(0, 2.1), record(1, 2.2)], lambda one: marked[one.cell])
    for found, some in ((row.behind_unseen, ~seen), (row.behind_seen, seen)):
        own, best = (one["test_sums"][some] / LENGTH for one in reversed(marked))
        low, high = stats.ttest_rel(own, best).confidence_interval(0.95)
        assert found is not None
        assert found.nats == pytest.approx((own - best).mean())
        assert found.half == pytest.approx((high - low) / 2)
        assert found.units == some.sum()


@pytest.mark.parametrize("seen", [None, np.zeros(G, bool), np.ones(G, bool)])
def test_documents_of_one_kind_are_not_compared_apart(seen: Any) -> None:
    """Where none or all stand in train, and in runs that did not keep which."""
    kept = scores(2.1, 2.2)
    more = {} if seen is None else {"test_seen": seen}
    _, row = standings([record(0, 2.1), record(1, 2.2)], lambda one: dict(kept(one)) | more)
    assert (row.behind_unseen, row.behind_seen) == (None, None)


def test_equal_documents_are_one_unit_of_a_comparison() -> None:
    """The stored units reach the paired test: a hundred documents of ten kinds rank nothing apart."""
    means = (2.1, 2.2)
    rows = standings(
        [record(i, mean) for i, mean in enumerate(means)], scores(*means, units=np.arange(G) % 10)
    )
    assert [row.rank for row in rows] == [1, 1]
    assert rows[1].behind is not None
    assert rows[1].behind.units == 10


def test_p_of_zero_comes_last_of_what_was_scored() -> None:
    """Infinite rows share the rank after all finite ones and stand above rows without a score."""
    records = [
        record(0, status="failed", metrics=Metrics()),
        infinite(1),
        record(2, 9.9),
        record(3, metrics=Metrics()),
        infinite(4),
        record(5, 2.0),
    ]
    means = (0.0, 0.0, 9.9, 0.0, 0.0, 2.0)
    rows = standings(records, scores(*means))
    assert cells(rows) == [5, 2, 1, 4, 3, 0]
    assert [row.rank for row in rows] == [1, 2, 3, 3, None, None]
    assert [row.behind is None for row in rows] == [True, False, True, True, True, True]


def test_infinite_rows_are_ordered_by_dev() -> None:
    """Where test says nothing, the better dev stands first."""
    rows = standings([infinite(0, dev=2.6), infinite(1, dev=2.4)], lambda record: None)
    assert cells(rows) == [1, 0]


def test_rows_without_test_are_ordered_by_dev() -> None:
    """A split without a test part still shows the better model first, unranked."""
    rows = standings(
        [record(0, metrics=Metrics(dev_nll=2.6)), record(1, metrics=Metrics(dev_nll=2.4))],
        lambda record: None,
    )
    assert cells(rows) == [1, 0]
    assert [row.rank for row in rows] == [None, None]


@pytest.mark.parametrize("status", ["invalid", "failed", "timeout", "out-of-memory", "diverged", "skipped"])
def test_a_broken_cell_stands_last_without_a_rank(status: str) -> None:
    """Whatever is left in its metrics, a cell that is not ok is not ranked and not paired."""
    records = [record(0, 1.0, status=status), infinite(1), record(2, 2.0), infinite(3, status=status)]
    rows = standings(records, scores(1.0, 0.0, 2.0, 0.0))
    assert cells(rows) == [2, 1, 0, 3]
    assert [row.rank for row in rows] == [1, 2, None, None]


def test_in_sample_rows_have_no_ranks() -> None:
    """Where train = dev = test, rows are ordered and nothing is claimed, p = 0 included."""
    records = [record(0, 2.3, in_sample=True), record(1, 2.1, in_sample=True), infinite(2, in_sample=True)]
    rows = standings(records, scores(2.3, 2.1, 0.0))
    assert cells(rows) == [1, 0, 2]
    assert [(row.rank, row.behind) for row in rows] == [(None, None)] * 3


def test_without_stored_scores_there_are_no_ranks() -> None:
    """Records alone give an order, not a comparison."""
    rows = standings([record(0, 2.3), record(1, 2.1)], lambda record: None)
    assert cells(rows) == [1, 0]
    assert [(row.rank, row.behind) for row in rows] == [(None, None)] * 2


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_row_whose_scores_were_lost_has_no_rank(lost: int) -> None:
    """It keeps its place in the order and is compared with nothing."""
    means = (2.1, 2.2, 2.3)
    kept = scores(*means)
    rows = standings(
        [record(i, mean) for i, mean in enumerate(means)],
        lambda record: None if record.cell == lost else kept(record),
    )
    assert cells(rows) == [0, 1, 2]
    assert (rows[lost].rank, rows[lost].behind) == (None, None)


def test_a_lone_model_is_first() -> None:
    """One finite row ranks first and is behind nobody; nothing at all gives nothing."""
    (row,) = standings([record(0, 2.0)], scores(2.0))
    assert (row.rank, row.behind) == (1, None)
    assert standings([], scores()) == []


def test_records_are_left_in_their_order() -> None:
    """Standings are a new list."""
    records = [record(0, 2.3), record(1, 2.1)]
    standings(records, lambda record: None)
    assert [one.cell for one in records] == [0, 1]
