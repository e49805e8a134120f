"""What a training step of the transformers costs, as ratios within one run, by processor time.

python -m pytest tests/bench --benchmark-only
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
from rows import Row, fitting, in_turns, product_rate

from harness import Corpus
from harness_plugins.document_batches import documents
from harness_plugins.prefix_tree import trees_of

STEPS, THEIRS, ROUNDS, MICRO_STEPS = 40, 25, 5, 2000
WIDTH, HEADS, LAYERS, BLOCK, BATCH = 64, 4, 4, 16, 32  # makemore's, of the default transformer


def makemore_steps(train: Corpus) -> Callable[[int], None]:
    """Steps of makemore.py's transformer as that script takes them: what it computes, on what, by what.

    Every name is a row of 16 positions, right-padded, its missing targets −1; batches are collated name by
    name from a data set of tensors. The script loads them in four processes, which costs it more, and
    would not be seen by the clock of this thread.
    """
    torch = pytest.importorskip("torch")
    nn, F = torch.nn, torch.nn.functional  # noqa: N806
    documents = [train.tokens[a:b].astype(np.int64) for a, b in pairwise(train.offsets)]

    class Names(torch.utils.data.Dataset):  # type: ignore[misc, name-defined]  # torch is imported late
        def __len__(self) -> int:
            return len(documents)

        def __getitem__(self, number: int) -> tuple[Any, Any]:
            name = torch.from_numpy(documents[number][1:])
            x, y = torch.zeros(BLOCK, dtype=torch.long), torch.zeros(BLOCK, dtype=torch.long)
            x[1 : 1 + len(name)] = name
            y[: len(name)] = name
            y[len(name) + 1 :] = -1
            return x, y

    class Gelu(nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            inner = math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))
            return 0.5 * x * (1.0 + torch.tanh(inner))

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.qkv, self.project = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
            self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
            self.gelu = Gelu()
            self.register_buffer("seen", torch.tril(torch.ones(BLOCK, BLOCK)).view(1, 1, BLOCK, BLOCK))

        def attend(self, x: Any) -> Any:
            b, t, c = x.shape
            q, k, v = (
                part.view(b, t, HEADS, c // HEADS).transpose(1, 2) for part in self.qkv(x).split(c, dim=2)
            )  # (B, heads, T, C/heads)
            scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(c // HEADS))  # (B, heads, T, T)
            scores = scores.masked_fill(self.seen[:, :, :t, :t] == 0, float("-inf"))
            mixed = F.softmax(scores, dim=-1) @ v
            return self.project(mixed.transpose(1, 2).contiguous().view(b, t, c))

        def forward(self, x: Any) -> Any:
            x = x + self.attend(self.before(x))
            return x + self.down(self.gelu(self.up(self.between(x))))

    class Net(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.characters, self.positions = nn.Embedding(27, WIDTH), nn.Embedding(BLOCK, WIDTH)
            self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
            self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 27, bias=False)

        def forward(self, x: Any, y: Any) -> Any:
            h = self.characters(x) + self.positions(torch.arange(x.shape[1]).unsqueeze(0))  # (B, T, C)
            for block in self.blocks:
                h = block(h)
            logits = self.head(self.norm(h))  # (B, T, V)
            return F.cross_entropy(logits.view(-1, 27), y.view(-1), ignore_index=-1)

    torch.set_num_threads(1)
    torch.manual_seed(0)
    names = Names()
    drawn = torch.utils.data.RandomSampler(names, replacement=True, num_samples=10**10)
    loaded = iter(torch.utils.data.DataLoader(names, batch_size=BATCH, sampler=drawn))
    model = Net()
    assert sum(parameter.numel() for parameter in model.parameters()) == 204_544  # as it reports itself
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.01, betas=(0.9, 0.99), eps=1e-8)

    def steps(n: int) -> None:
        for batch in islice(loaded, n):
            loss = model(*batch)
            model.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return steps


def test_a_step_against_makemore_s(benchmark: Any, makemore_path: Any) -> None:
    """`train_s` of transformer:preset=makemore against the script's own step: 2× at least.

    The floor: three products for every matrix at each distinct prefix of a batch, at the rate of a large one.
    """
    ours, parts = fitting("transformer@numba:preset=makemore", "makemore")
    theirs = makemore_steps(parts.train)
    ours(2)
    theirs(3)
    took: list[float] = []
    peer, _ = in_turns(ROUNDS, lambda: theirs(THEIRS), lambda: took.append(ours(STEPS).train_s))
    benchmark.pedantic(lambda: ours(STEPS), rounds=3)
    drawn = islice(documents(len(parts.train), BATCH, np.random.default_rng(0)), 200)
    nodes = np.mean([len(tree.tokens) for tree in trees_of(parts.train, drawn)])
    matrices = LAYERS * 12 * WIDTH**2 + 27 * WIDTH
    ratio = Row(
        "transformer:preset=makemore, a step", "an equal torch model fed by makemore", peer / THEIRS,
        min(took) / STEPS, "s", least=2, aim=4, floor=3 * 2 * nodes * matrices / product_rate(),
        note=f"{nodes:.0f} distinct prefixes a batch in place of {BATCH * BLOCK} positions",
    ).keep(benchmark)  # fmt: skip
    assert ratio >= 2


@pytest.mark.parametrize("batch", [8, 16])
def test_microgpt_characters_a_second(benchmark: Any, makemore_path: Any, batch: int) -> None:
    """Training targets over `train_s` of microgpt@numba:preset=karpathy: half of microgpt-c's at least.

    The floor: three products for every matrix at each position, at the rate of a large one.
    """
    ours, parts = fitting(f"microgpt@numba:preset=karpathy,batch={batch}")
    ours(2)
    rate = 0.0
    for _ in range(ROUNDS):
        found = ours(MICRO_STEPS)
        rate = max(rate, found.targets_consumed / found.train_s)
    benchmark.pedantic(lambda: ours(MICRO_STEPS), rounds=1)
    matrices = 12 * 16**2 + parts.train.alphabet.size * 16
    ratio = Row(
        f"microgpt:preset=karpathy, training, batch {batch}", "microgpt-c (C99), batch 8", 434_000, rate,
        " characters/s", least=0.5, aim=2.4e6 / 434_000, floor=product_rate() / (3 * 2 * matrices),
        measured=False, note="aim: 2.4 M characters/s, EEmicroGPT's on an Apple M5 (quoted)",
    ).keep(benchmark)  # fmt: skip
    assert ratio >= 0.5
