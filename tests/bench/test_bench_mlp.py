"""What a training step of the MLP costs, as ratios within one run, by the processor time of one thread.

python -m pytest tests/bench --benchmark-only
"""

from __future__ import annotations

from typing import Any

import pytest
from rows import Row, fitting, in_turns, product_rate

from harness import Corpus

STEPS, THEIRS, ROUNDS = 6400, 200, 9


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
    fit, parts = fitting("mlp@numba:preset=lecture")
    loop = lecture_loop(parts.train, THEIRS)
    loop()
    took: list[float] = []
    theirs, _ = in_turns(ROUNDS, loop, lambda: took.append(fit(STEPS).train_s))
    benchmark.pedantic(lambda: fit(STEPS), rounds=3)
    ratio = Row(
        "mlp@numba:preset=lecture, a step", "the lecture's loop in torch", theirs / THEIRS, min(took) / STEPS,
        "s", least=5, aim=10, floor=3 * 2 * (32 * 27 + 38 * 10) * 208 / product_rate(),
    ).keep(benchmark)  # fmt: skip
    assert ratio >= 5
