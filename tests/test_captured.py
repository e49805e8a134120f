"""Steps without the host: the same training as step by step, and nothing in them that no graph can hold.

No test here needs a GPU: `recording` stands in for CUDA's graphs. What a GPU says is in test_cuda.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch")

from networks import (  # noqa: E402
    DOCUMENTS,
    DROPPED,
    ELSEWHERE,
    MLP,
    STILL,
    TEXT,
    WINDOWS,
    lines,
    new,
    read_by,
    training,
)
from recording import NotCapturable, record  # noqa: E402

from harness import Trial, registry  # noqa: E402
from harness_plugins import captured  # noqa: E402
from harness_plugins.captured import Captured, equal, tables  # noqa: E402
from harness_plugins.steps_ahead import train_ahead  # noqa: E402
from harness_plugins.training import Curve  # noqa: E402

# ---- the same training


@pytest.mark.parametrize("selected", [*WINDOWS, *DOCUMENTS, *TEXT])
def test_it_is_the_training_step_by_step(selected: str) -> None:
    """Batches, rates, points of the curve and what was learned are those of the ordinary loop."""
    train = read_by(selected)
    curves: list[list[float]] = []
    rows, done = [], []
    probe = train.tokens[:60].astype(np.int64).reshape(10, 6)
    for device in ("cpu", ELSEWHERE):
        curve: list[float] = []
        model = new(selected, device, 5)

        def measured(current: Any, into: list[float] = curve) -> float:
            into.append(float(current.log_probs(probe)[:, -1].mean()))
            return 0.0

        trial = Trial(5, steps=120, on_checkpoint=measured)
        model.fit(train, lines().take(np.arange(1)), trial)
        rows.append(model.log_probs(probe))
        curves.append(curve)
        done.append(trial.targets_consumed)
    np.testing.assert_allclose(rows[0], rows[1], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-4, atol=1e-4)
    assert len(curves[0]) > 3
    assert done[0] == done[1]


# ---- what a graph can hold


@pytest.mark.parametrize("selected", [*WINDOWS, *DOCUMENTS, *TEXT, *DROPPED])
def test_a_recorded_step_is_the_step(selected: str) -> None:
    """Replayed with other rows and rates, over a table's end, it comes to the same bits as when called."""
    called, replayed = training(selected), training(selected)
    replayed.record = record
    assert called.steps(np.linspace(0, 0.5, 5)) == replayed.steps(np.linspace(0, 0.5, 5))
    for one in (called, replayed):  # to the end of the table, without the time that it takes
        one.used = len(one.rates) - 2
        one.at.fill_(one.used)
    assert called.steps(np.linspace(0.5, 1, 5)) == replayed.steps(np.linspace(0.5, 1, 5))
    assert replayed.launch is not None
    for ours, theirs in zip(called.params(), replayed.params(), strict=True):
        assert all((ours[name] == theirs[name]).all() for name in ours)


def by_hand(fault: str) -> Captured:
    """A weight that goes down by rate times row, and what may go wrong in a step."""
    weight, rate = torch.zeros(2), torch.zeros(())
    numbers = iter(np.arange(80.0).reshape(2, 20, 2))
    told = {"rate": 0.0}

    def rate_of(share: float) -> float:
        told["rate"] = share
        return share

    def step(row: Any, count: Any) -> tuple[Any]:
        moved = row[0] * (told["rate"] if fault == "the host's number" else rate)
        if fault == "a look":
            moved = moved if moved[0].item() > -1 else -moved
        if fault == "a branch":
            moved = moved if (moved > -1).all() else -moved
        if fault == "a mask":
            moved = moved[moved > -1]
        if fault == "a count":
            moved = moved[torch.nonzero(moved > -1)[:, 0]]
        if fault == "the host's tensor":
            moved = moved * torch.tensor([1.0, 1.0])
        weight.sub_(moved)
        return (moved.sum()[None],)

    made = tables([equal(numbers)], rate.device)
    return Captured(
        made, step, lambda loss: loss, rate, rate_of, lambda: [{"w": weight.numpy()}], record=record
    )


@pytest.mark.parametrize("fault", ["a look", "a branch", "a mask", "a count", "the host's tensor"])
def test_what_no_graph_can_hold_is_refused(fault: str) -> None:
    """A step that the host must look into, or whose shapes depend on numbers, cannot be recorded."""
    with pytest.raises(NotCapturable):
        by_hand(fault).steps(np.linspace(0, 1, 8))


def test_a_graph_keeps_the_host_s_numbers() -> None:
    """What the step takes from the host stays as it was recorded: the stand-in shows such a mistake."""
    rows = np.arange(40.0).reshape(20, 2)
    right, wrong = by_hand("none"), by_hand("the host's number")
    for first, last in ((0.1, 0.5), (0.5, 0.9)):
        for one in (right, wrong):
            one.steps(np.linspace(first, last, 8))
    rates = np.concatenate([np.linspace(0.1, 0.5, 8), np.linspace(0.5, 0.9, 8)])
    expected = -(rows[:16] * rates[:, None]).sum(axis=0)
    np.testing.assert_allclose(right.params()[0]["w"], expected, rtol=1e-6)
    assert not np.allclose(wrong.params()[0]["w"], expected)


def test_a_table_is_read_to_its_end_and_then_the_next() -> None:
    """Rows of both tables in their order, rates beside them, whatever number of steps a call takes."""
    one = by_hand("none")
    rates = np.linspace(0, 1, 33)
    for part in np.split(rates, [1, 2, 19, 26]):
        one.steps(part)
    rows = np.arange(80.0).reshape(40, 2)[:33]
    np.testing.assert_allclose(one.params()[0]["w"], -(rows * rates[:, None]).sum(axis=0), rtol=1e-6)
    assert one.done.tolist() == [66]
    assert one.steps([0.5]) == pytest.approx([0.5 * (66 + 67)])


# ---- many seeds, and what is not captured


@pytest.mark.parametrize("selected", WINDOWS[:5])
def test_a_seed_of_many_is_its_solo_run(selected: str) -> None:
    """Three seeds as one problem come to the rows of each alone within 1e-4."""
    probe = lines().unique_windows(3)[0]
    trials = [Trial(seed, steps=300) for seed in (3, 1, 4)]
    found = new(selected, ELSEWHERE, 3).fit_seeds(lines(), lines(), trials)
    for params, trial in zip(found, trials, strict=True):
        solo, alone = new(selected, ELSEWHERE, trial.seed), Trial(trial.seed, steps=300)
        solo.fit(lines(), lines(), alone)
        expected = solo.window_log_probs(probe)
        solo.params = params
        np.testing.assert_allclose(solo.window_log_probs(probe), expected, rtol=1e-4, atol=1e-4)
        assert trial.targets_consumed == alone.targets_consumed


def test_many_seeds_on_cuda_are_one_problem() -> None:
    """The spec offers it for the backends of torch."""
    spec = registry.discover().models["mlp"]
    assert callable(spec.vectorised)
    steady = {**spec.config, "learning_rate": 0.01}
    assert [spec.vectorised(name, steady) for name in ("torch", "cuda", "numpy")] == [True, True, False]
    assert not spec.vectorised("torch", spec.config)  # at 0.02 AdamW magnifies rounding


@pytest.mark.parametrize(
    ("selected", "expected"),
    [
        (WINDOWS[0], True),
        (f"mlp:{MLP},batch=4,batch_of=documents,normalize=batch", False),
        (f"gru:{STILL}", True),
        ("gru:batch=8", False),
        ("gru:batch=8,dropout=0,input_dropout=0.1", False),
        ("transformer:batch=8,dropout=0,attention_dropout=0.1", False),
        ("transformer:batch=8,batches=random", True),
        ("transformer:batch=8,block=4", True),
    ],
)
def test_what_has_another_shape_each_time_is_not_captured(selected: str, expected: bool) -> None:
    """Statistics of padded batches, and trees where dropout falls on prefixes, are left to the loop."""
    model = new(selected, ELSEWHERE, 1)
    used = []
    ordinary = model.captured
    model.captured = lambda *parts: used.append(ordinary(*parts)) or used[0]
    model.fit(lines(), lines(), Trial(1, steps=2))
    assert model.capturable(lines()) is bool(used) is expected


def test_too_many_contexts_for_a_table_are_left_to_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the shares of all contexts are too many numbers, seeds come to the same without them."""
    from harness_plugins import mlp_seeds

    def trials() -> list[Trial]:
        return [Trial(seed, steps=50) for seed in (1, 2)]

    expected = new(WINDOWS[0], ELSEWHERE, 1).fit_seeds(lines(), lines(), trials())
    monkeypatch.setattr(mlp_seeds, "MOST_KEPT", 10)
    model = new(WINDOWS[0], ELSEWHERE, 1)
    assert not model.capturable(lines())
    found = model.fit_seeds(lines(), lines(), trials())
    for ours, theirs in zip(found, expected, strict=True):
        for name, value in ours.items():
            np.testing.assert_allclose(value, theirs[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("step_s", [1e-4, 0.004, 0.5])
def test_a_budget_in_seconds_ends_in_time(step_s: float) -> None:
    """Steps are taken some at a time, but never for much longer than a hundredth of a second or one step."""
    now, calls = 0.0, []

    class Steps:
        done = np.zeros(1, np.int64)

        def steps(self, spent: Any) -> list[float]:
            nonlocal now
            now += step_s * len(spent)
            calls.append(len(spent))
            return [1.0]

        def params(self) -> Any:
            return [{}]

    trial = Trial(seconds=5.0, clock=lambda: now)
    train_ahead([Steps()], [new(WINDOWS[0], "cpu", 0)], Curve(trial, lines()), [trial])
    assert 5 <= now < 5 + max(0.05, 2 * step_s)
    assert max(calls) == {1e-4: 100, 0.004: 2, 0.5: 1}[step_s]


def test_cuda_is_asked_in_the_order_that_it_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step beside the others waits for them and they for it; generators are known before it is recorded."""
    said: list[str] = []

    class Stream:
        def __init__(self, name: str = "side") -> None:
            self.name = name

        def wait_stream(self, other: Any) -> None:
            said.append(f"{self.name} waits for {other.name}")

    class Graph:
        def register_generator_state(self, generator: Any) -> None:
            said.append(f"knows {generator}")

        def replay(self) -> None:
            said.append("replay")

    @contextmanager
    def within(what: Any) -> Iterator[None]:
        said.append(f"in {getattr(what, 'name', 'graph')}")
        yield
        said.append("out")

    main = Stream("main")
    for name, fake in {"Stream": Stream, "CUDAGraph": Graph, "graph": within, "stream": within}.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: main)
    captured.beside(lambda: said.append("step"))
    assert said == ["side waits for main", "in side", "step", "out", "main waits for side"]
    said.clear()
    launch = captured.cuda_graph(lambda: said.append("step"), ["g"])  # type: ignore[list-item]
    launch()
    assert said == ["knows g", "in graph", "step", "out", "replay"]
