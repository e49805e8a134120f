"""What a training step of the MLP costs, as ratios within one run, by the processor time of one thread.

python -m pytest tests/bench --benchmark-only
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from harness import Corpus, Model, Trial, runner
from harness.fit import fit
from harness_plugins.mlp_numba import MlpNumba

STEPS, THEIRS, ROUNDS = 6400, 200, 9
CLOCK = time.thread_time  # other jobs of the machine do not count


def lecture_loop(train: Corpus, steps: int) -> Any:
    """Makemore part 2's training step, its tensors made once: batch 32, 3 × 10 → 200, plain descent."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    windows, targets = (torch.from_numpy(part) for part in train.windows(3))
    generator = torch.Generator().manual_seed(0)
    c, w1, w2 = (torch.randn(s, generator=generator) for s in ((27, 10), (30, 200), (200, 27)))
    parameters = [c, w1 * 0.3, torch.zeros(200), w2 * 0.01, torch.zeros(27)]
    for parameter in parameters:
        parameter.requires_grad_()

    def loop() -> None:
        for _ in range(steps):
            chosen = torch.randint(0, len(targets), (32,), generator=generator)
            c, w1, b1, w2, b2 = parameters
            hidden = torch.tanh(c[windows[chosen]].view(-1, 30) @ w1 + b1)
            loss = torch.nn.functional.cross_entropy(hidden @ w2 + b2, targets[chosen])
            for parameter in parameters:
                parameter.grad = None
            loss.backward()
            for parameter in parameters:
                parameter.data += -0.1 * parameter.grad

    return loop


def test_a_step_against_the_lecture_s(benchmark: Any, makemore_path: Any) -> None:
    """`train_s` of mlp@numba:preset=lecture, all of a fit, against an equal loop in torch: 5× at least.

    The floor by pairs: 3·2·(32·27 + 38·10)·208 = 1.55 MFLOP at the rate of a large product of this machine.
    """
    made = runner.plan("mlp@numba:preset=lecture", data="makemore-names", method="lecture")
    choice = made.cells[0].choice
    parts = made.split_for(choice)

    def model() -> Model:
        built = MlpNumba(parts.train.alphabet.size, choice.config, np.random.default_rng(0))
        built.context = 3
        return built

    theirs, product, ours = [], [], []
    loop = lecture_loop(parts.train, THEIRS)
    large = np.random.default_rng(0).random((384, 384)).astype("f")
    loop()

    def once() -> None:
        trial = Trial(steps=STEPS, clock=CLOCK)
        found = fit(model, parts.train, parts.dev.corpus, trial, lambda model: 2.0, CLOCK)
        ours.append(found.train_s / STEPS)

    for _ in range(ROUNDS):
        theirs.append(seconds(loop) / (THEIRS))
        product.append(seconds(lambda: large @ large))
        once()
    benchmark.pedantic(once, rounds=3)
    step, torch_step = min(ours), min(theirs)
    rate = 2 * 384**3 / min(product)
    floor = 3 * 2 * (32 * 27 + 38 * 10) * 208 / rate
    ratio = torch_step / step
    benchmark.extra_info |= {"ratio": ratio, "step_s": step, "torch_s": torch_step, "floor_s": floor}
    print(  # noqa: T201
        f"\ntorch {1e6 * torch_step:.0f} µs, numba {1e6 * step:.1f} µs a step: {ratio:.1f}×; "
        f"floor {1e6 * floor:.1f} µs at {rate / 1e9:.0f} GFLOP/s, {100 * floor / step:.0f} % of it reached"
    )
    assert ratio >= 5


def seconds(function: Any) -> float:
    """How long a call takes."""
    before = CLOCK()
    function()
    return CLOCK() - before
