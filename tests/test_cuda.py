"""What only a GPU can say. Where there is none every test is skipped; where there is one:

python -m pytest tests/test_cuda.py -s -rs
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch")

from networks import DOCUMENTS, DROPPED, TEXT, WINDOWS, lines, new, read_by, training  # noqa: E402

from harness import Alphabet, Corpus, Trial, registry, runner, selection  # noqa: E402
from harness_plugins.captured import Captured  # noqa: E402
from harness_plugins.mlp_torch import captured_stack  # noqa: E402

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")

SHARES = np.linspace(0, 0.9, 60)
TREES = ["gru:embedding=4,hidden=6,batch=8", "transformer:embedding=8,heads=2,layers=1,batch=8"]


@pytest.mark.parametrize("selected", [*WINDOWS, *DOCUMENTS, *TEXT, *DROPPED, *TREES])
def test_rows_are_those_of_the_cpu(selected: str) -> None:
    """The same parameters give the same rows within the promised 1e-4, also from kept states; samples end."""
    here, there = (new(selected, device, 3) for device in ("cpu", "cuda"))
    here.fit(read_by(selected), lines(), Trial(3, steps=30))
    there.params = here.params
    probe = read_by(selected).tokens[:60].astype(np.int64).reshape(10, 6)
    np.testing.assert_allclose(there.log_probs(probe), here.log_probs(probe), rtol=1e-4, atol=1e-4)
    for width in range(1, 7):
        found, expected = (one.next_log_probs(probe[:, :width]) for one in (there, here))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert len(there.sample(5, 8, np.random.default_rng(0))) == 5


@pytest.mark.parametrize("selected", [*WINDOWS, *DOCUMENTS, *TEXT])
def test_training_is_that_of_the_cpu(selected: str) -> None:
    """After 100 steps of the same batches, recorded there and called here, rows agree within 1e-3."""
    here, there = (new(selected, device, 3) for device in ("cpu", "cuda"))
    probe = read_by(selected).tokens[:60].astype(np.int64).reshape(10, 6)
    for one in (here, there):
        one.fit(read_by(selected), lines(), Trial(3, steps=100))
    np.testing.assert_allclose(there.log_probs(probe), here.log_probs(probe), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("selected", [*WINDOWS, *DOCUMENTS, *TEXT, *DROPPED])
def test_a_replayed_step_is_the_step(selected: str) -> None:
    """A graph comes to the same bits as the calls it was recorded from."""
    called, replayed = training(selected, "cuda"), training(selected, "cuda")
    called.record = None
    assert called.steps(SHARES) == replayed.steps(SHARES)
    assert replayed.launch is not None
    for ours, theirs in zip(called.params(), replayed.params(), strict=True):
        assert all((ours[name] == theirs[name]).all() for name in ours)


@pytest.mark.parametrize("selected", [*WINDOWS, *DOCUMENTS, *TEXT, *DROPPED, *TREES])
def test_a_fit_is_repeated_to_the_bit(selected: str) -> None:
    """Equal seeds train alike: what `deterministic` in a spec promises."""
    found = []
    for _ in range(2):
        model = new(selected, "cuda", 3)
        model.fit(read_by(selected), lines(), Trial(3, steps=50))
        found.append(model.params)
    assert all((found[0][name] == found[1][name]).all() for name in found[0])


@pytest.mark.parametrize("selected", WINDOWS[:5])
def test_a_seed_of_many_is_its_solo_run(selected: str) -> None:
    """After 1,000 steps of 64 seeds as one problem each has the rows of its solo run within 1e-4."""
    probe = lines().unique_windows(3)[0]
    trials = [Trial(seed, steps=1000) for seed in range(64)]
    found = new(selected, "cuda", 0).fit_seeds(lines(), lines(), trials)
    for seed in (0, 17, 63):
        solo = new(selected, "cuda", seed)
        solo.fit(lines(), lines(), Trial(seed, steps=1000))
        expected = solo.window_log_probs(probe)
        solo.params = found[seed]
        np.testing.assert_allclose(solo.window_log_probs(probe), expected, rtol=1e-4, atol=1e-4)


# ---- steps per second


def seconds(function: Callable[[], object], times: int) -> float:
    """Of one call, the device waited for."""
    function()
    torch.cuda.synchronize()
    before = time.perf_counter()
    for _ in range(times):
        function()
    torch.cuda.synchronize()
    return (time.perf_counter() - before) / times


def ceilings() -> tuple[float, float, float]:
    """FLOP/s of a large float32 product, bytes/s of a copy, seconds of an operation within a graph."""
    a = torch.rand(8192, 8192, device="cuda")
    small, graph = torch.zeros(32, device="cuda"), torch.cuda.CUDAGraph()
    large = torch.empty_like(a)
    with torch.cuda.graph(graph):
        for _ in range(100):
            small.add_(1)
    return (
        2 * 8192**3 / seconds(lambda: a @ a, 5),
        2 * 4 * a.numel() / seconds(lambda: large.copy_(a), 20),
        seconds(graph.replay, 50) / 100,
    )


def operations(step: Callable[[], object]) -> tuple[int, int]:
    """How many kernels a step launches, and floating-point operations of its products."""
    from torch.profiler import ProfilerActivity, profile
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        step()
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        step()
        torch.cuda.synchronize()
    kernels = sum(event.count for event in seen.key_averages())
    return kernels, counter.get_total_flops()


def corpus_of(kind: str) -> Corpus:
    """The embedded names, or a million characters of 64 letters, whose law does not matter here."""
    if kind == "names":
        made = runner.plan("uniform", data="names")
        return made.split_for(made.cells[0].choice).train
    letters = "".join(map(chr, range(0x41, 0x41 + 64)))
    drawn = np.random.default_rng(0).choice(list(letters), 1_000_000)
    return Corpus.from_documents(["".join(drawn)], Alphabet(letters), kind="text")


def steps_of(selected: str, train: Corpus, seeds: int) -> Captured:
    """The steps of some seeds of a model in training."""
    choice = selection.one(registry.discover(), selected)
    ones: list[Any] = []
    for seed in range(seeds):
        kind: Any = registry.resolve(choice.spec, "torch")
        ones.append(kind(train.alphabet.size, choice.config, np.random.default_rng(seed)))
        ones[-1].context, ones[-1].device = choice.config.get("context"), "cuda"
    if choice.spec.name == "mlp":
        for one in ones:
            one.params = dict(one.initial())
        return captured_stack(ones, train, *ones[0].data(train))
    (one,) = ones
    if hasattr(one, "start"):
        steps: Captured = one.captured(one.start(), train)
    else:
        one.params = dict(one.initial())
        steps = one.captured(train)
    return steps


@pytest.mark.parametrize(
    ("selected", "kind", "seeds"),
    [
        ("mlp", "names", 1),
        ("mlp", "names", 64),
        ("mlp:preset=lecture", "names", 1),
        ("mlp:preset=lecture,init=kaiming", "names", 64),
        ("wavenet", "names", 1),
        ("gru:preset=makemore", "names", 1),
        ("transformer:preset=makemore", "names", 1),
        ("transformer:preset=lecture-gpt", "text", 1),
    ],
)
def test_steps_per_second(selected: str, kind: str, seeds: int) -> None:
    """A graph is no slower than its calls; printed beside what products and launches need at least."""
    train = corpus_of(kind)
    many = 20 if "gpt" in selected else 200
    called, replayed = (steps_of(selected, train, seeds) for _ in range(2))
    called.record = None
    by_calls = seconds(lambda: called.steps([0.1] * many), 2) / many
    in_graph = seconds(lambda: replayed.steps([0.1] * many), 5) / many
    kernels, flop = operations(lambda: called.steps([0.1]))
    rate, copied, launch = ceilings()
    floor = max(flop / rate, kernels * launch)
    said = [
        f"{selected}, {seeds} seeds, {torch.cuda.get_device_name()}: {1 / in_graph:.0f} steps/s in a graph",
        f"{1 / by_calls:.0f} by calls",
        f"{kernels} kernels of {1e6 * launch:.2f} µs, {flop / 1e6:.1f} MFLOP at {rate / 1e12:.1f} TFLOP/s",
        f"copies {copied / 1e12:.2f} TB/s",
        f"{100 * floor / in_graph:.0f} % of the floor",
    ]
    print("\n" + "; ".join(said))  # noqa: T201
    assert in_graph < 1.05 * by_calls
