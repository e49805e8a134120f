"""What compiled transformers hold: their parameters, and what a batch writes to.

What a network does not have (gains, biases, masks of dropout) is an array of size 0. L layers, C width, F
width inside the feed-forward part, V characters, N positions, P pairs of a position and one up to it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.contract import Config
from harness_plugins.compiled import compiled
from harness_plugins.mlp_numba import wide
from harness_plugins.small_products import COLUMNS

Array = NDArray[np.float32]
Ints = NDArray[np.int64]


class Net(NamedTuple):
    """Parameters or their gradients: views of one flat vector, L layers; matrices as (in, out)."""

    characters: Array  # (V, C)
    positions: Array  # (block, C)
    gain: Array  # (2·L + 1, C) of layer norms; the last one stands before the head
    shift: Array  # (2·L + 1, C)
    qkv_bias: Array  # (L, 3·C)
    project_bias: Array  # (L, C)
    up_bias: Array  # (L, F)
    down_bias: Array  # (L, C)
    head_bias: Array  # (1, V rounded up)
    qkv: Array  # (L, C, 3·C)
    project: Array  # (L, C, C)
    up: Array  # (L, C, F)
    down: Array  # (L, F, C)
    head: Array  # (C, V rounded up)


class Work(NamedTuple):
    """What a batch of at most N positions and P pairs writes to. Axes as in `Net`."""

    token: Ints  # (N,)
    place: Ints  # (N,) within the document
    following: Ints  # (N,) the target; −1: none that counts
    pair: Ints  # (N + 1,) where the pairs of a position begin
    gather: Array  # (C, heads rounded up) the same with a column a head
    spread: Array  # (heads, C) ones within a head
    scores: Array  # (P, heads rounded up)
    sums: Array  # (C, C) ones within a head, over the root of its width
    embedded: Array  # (N, C)
    x: Array  # (L + 1, N, C) before each layer, and after the last
    middle: Array  # (L, N, C) between attention and the feed-forward part
    normed: Array  # (2·L, N, C)
    scale: Array  # (2·L + 1, N) what each norm multiplied with
    qkv: Array  # (L, N, 3·C)
    weight: Array  # (L, P, C) of attention
    mixed: Array  # (L, N, C)
    inside: Array  # (L, N, F)
    logits: Array  # (N, V rounded up)
    product: Array  # (P, C)
    d_weight: Array  # (P, C)
    d_x: Array  # (N, C)
    d_normed: Array  # (N, C)
    d_qkv: Array  # (N, 3·C)
    d_mixed: Array  # (N, C)
    d_inside: Array  # (N, F)
    panel: Array  # (the deepest product, 16)
    spare: Array  # (2, C)
    unit: Array  # (2·L + 1, N, C) layer norms before gain and shift
    last: Array  # (N, C) after the last layer norm
    active: Array  # (L, N, F) after GELU; ReLU is done in place
    masks: Array  # (2·L + 1, N, C) of dropout: after attention, after the feed-forward part; embeddings
    d_branch: Array  # (N, C)
    random: Any  # (1,) uint64: the state of the generator of masks
    rate: Array  # (1,) of dropout
    past: Array  # (L, ·, 2·C) keys and values that are kept: `TransformerReader`
    where: Ints  # (documents, T) which of these each document has; none where documents are read whole


def network(v: int, config: Config) -> tuple[Array, Net]:
    """Zeros (parameters,) and the views of them that are a network's parameters."""
    c, layers, out = wide(config["embedding"]), config["layers"], wide(v)
    f, biased = wide(4 * config["embedding"]), layers * config["bias"]
    norms = (2 * layers + 1) * (config["norm"] == "layer")
    shapes = [
        (v, c), (config["block"], c), (norms, c), (norms, c),
        (layers * config["qkv_bias"], 3 * c), (biased, c), (biased, f), (biased, c),
        (int(config["head_bias"]), out),
        (layers, c, 3 * c), (layers, c, c), (layers, c, f), (layers, f, c), (c, out),
    ]  # fmt: skip
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    flat = np.zeros(ends[-1], np.float32)
    parts = np.split(flat, ends[:-1])
    return flat, Net(*(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)))


def workspace(v: int, config: Config, documents: int, longest: int, state: int = 0) -> Work:
    """What a batch of so many documents of at most so many positions writes to.

    state: of the generator of dropout's masks, for training; 0 is for reading, which drops nothing.
    """
    rate = config["dropout"] if state else 0.0
    c, layers, heads = wide(config["embedding"]), config["layers"], config["heads"]
    f, n, pairs = wide(4 * config["embedding"]), documents * longest, documents * longest * (longest + 1) // 2

    def zeros(*shape: int) -> Array:
        return np.zeros(shape, np.float32)

    head = np.arange(c) // (config["embedding"] // heads)
    real = np.arange(c) < config["embedding"]
    of_head = (head[:, None] == np.arange(wide(heads))) & real[:, None]
    together = (head[:, None] == head) & real[:, None] & real
    return Work(
        token=np.zeros(n, np.int64),
        place=np.zeros(n, np.int64),
        following=np.zeros(n, np.int64),
        pair=np.zeros(n + 1, np.int64),
        gather=(of_head / math.sqrt(config["embedding"] // heads)).astype(np.float32),
        spread=of_head.T[:heads].astype(np.float32, order="C"),
        scores=zeros(pairs, wide(heads)),
        sums=(together / math.sqrt(config["embedding"] // heads)).astype(np.float32),
        embedded=zeros(n, c),
        x=zeros(layers + 1, n, c),
        middle=zeros(layers, n, c),
        normed=zeros(2 * layers, n, c),
        scale=zeros(2 * layers + 1, n),
        qkv=zeros(layers, n, 3 * c),
        weight=zeros(layers, pairs, c),
        mixed=zeros(layers, n, c),
        inside=zeros(layers, n, f),
        logits=zeros(n, wide(v)),
        product=zeros(pairs, c),
        d_weight=zeros(pairs, c),
        d_x=zeros(n, c),
        d_normed=zeros(n, c),
        d_qkv=zeros(n, 3 * c),
        d_mixed=zeros(n, c),
        d_inside=zeros(n, f),
        panel=zeros(max(n, 3 * c, f, wide(v)), COLUMNS),
        spare=zeros(2, max(c, wide(heads))),
        unit=zeros(2 * layers + 1, n * (config["norm"] == "layer"), c),
        last=zeros(n * (config["norm"] == "layer"), c),
        active=zeros(layers * (config["activation"] == "gelu"), n, f),
        masks=zeros((2 * layers + 1) * (rate > 0), n, c),
        d_branch=zeros(n * (rate > 0), c),
        random=np.array([state], np.uint64),
        rate=np.array([rate], np.float32),
        past=zeros(layers, 0, 2 * c),
        where=np.zeros((0, 0), np.int64),
    )


@compiled
def lay_out(tokens: Any, start: Any, fresh: Any, end: Any, work: Any) -> Any:
    """Pieces of the text, inputs start … end − 1, become a batch of N; targets count from `fresh` on."""
    n = pairs = 0
    for piece in range(len(start)):
        for at in range(start[piece], end[piece]):
            work.token[n] = tokens[at]
            work.place[n] = at - start[piece]
            work.following[n] = tokens[at + 1] if at >= fresh[piece] else -1
            work.pair[n] = pairs
            pairs += work.place[n] + 1
            n += 1
    work.pair[n] = pairs
    return n
