"""Whether a model's answers agree with each other: the cheap checks that `run` makes of every cell.

A row depends on what stands before it, and on nothing else: not on the fast path, not on what comes
after it, not on where the row of inputs ends. `harness audit` asks the same more thoroughly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.contract import Model
from harness.corpus import BOUNDARY, Corpus, Ints
from harness.evaluate import STRIDE, WINDOW, Float64s, ask, checked, normalised

DOCUMENTS = 32
POSITIONS = 2**11  # B·T that are looked at: long documents are fewer, windows of running text eight
CUT_POSITIONS = 2**14  # of all cuts together: of long documents, a sample of the shorter T


def disagreement(
    model: Model,
    corpus: Corpus,
    context: int | None,
    tolerance: float,
    rng: np.random.Generator,
    documents: int = DOCUMENTS,
) -> str | None:
    """How the model contradicts itself on sampled documents or windows of running text, or None.

    The rows of `log_probs` on padded whole documents must equal those of `next_log_probs` on every
    prefix alone, and, where a context is promised, on the last `context` characters alone; and its
    own rows where the inputs are cut after a position, or boundaries stand in place of what follows.
    """
    if not corpus.targets:
        return None
    v = corpus.alphabet.size
    inputs, mask = sampled(corpus, context, rng, documents)  # (B, T)
    answer = checked(model.log_probs(inputs), (*inputs.shape, v))
    rows = np.zeros((*inputs.shape, v))  # (B, T, V); those on padding stay 0: they are nobody's
    rows[mask] = normalised(answer[mask], (int(mask.sum()), v))
    for k in cuts(inputs, rng):
        alive = mask[:, k - 1]
        views = {"its prefix alone": inputs[alive, :k]}
        if context is not None and max(1, context) < k:
            views[f"the last {max(1, context)} characters"] = inputs[alive, k - max(1, context) : k]
        for seen, view in views.items():
            alone = ask(model.next_log_probs, view, v)  # (A, V)
            if moved(rows[alive, k - 1], alone, tolerance):
                return f"log_probs at position {k} differs from next_log_probs on {seen}"
        shorter = views["its prefix alone"]
        cut = normalised(model.log_probs(shorter), (*shorter.shape, v))  # (A, k, V)
        if moved(rows[alive, :k], cut, tolerance):
            return f"log_probs moves when the inputs are cut after position {k}"
    ends = rng.integers(1, np.maximum(mask.sum(axis=1), 2))  # (B,): at least one input is kept
    kept = np.arange(inputs.shape[1]) < ends[:, None]  # (B, T)
    blank = checked(model.log_probs(np.where(kept, inputs, BOUNDARY)), (*inputs.shape, v))
    if moved(rows[kept], normalised(blank[kept], (int(kept.sum()), v)), tolerance):
        return "log_probs moves when boundaries stand in place of what follows"
    return None


def sampled(
    corpus: Corpus, context: int | None, rng: np.random.Generator, documents: int
) -> tuple[Ints, NDArray[np.bool_]]:
    """Inputs (B, T) and where they are no padding: documents, or windows of running text as scored."""
    if corpus.kind == "lines":
        chosen = np.sort(rng.choice(len(corpus), min(documents, len(corpus)), replace=False))
        longest = int(corpus.lengths[chosen].max())
        inputs, _, mask = corpus.batch(chosen[: fewer(documents, longest)])
        return inputs, mask
    width = min(corpus.targets, max(WINDOW - STRIDE, context or 0) + STRIDE)
    starts = rng.integers(0, corpus.targets - width + 1, fewer(documents, width))
    inputs = corpus.tokens[starts[:, None] + np.arange(width)].astype(np.int64)
    return inputs, np.ones(inputs.shape, bool)


def fewer(documents: int, length: int) -> int:
    """As many documents as fit in `POSITIONS`, at least four."""
    return min(documents, max(4, POSITIONS // length))


def cuts(inputs: Ints, rng: np.random.Generator) -> list[int]:
    """Lengths at which inputs (B, T) are cut: all of 1…T, or a sample where they are long."""
    b, t = inputs.shape
    many = min(t, max(4, 2 * CUT_POSITIONS // (b * t)))
    return sorted((1 + rng.choice(t, many, replace=False)).tolist())


def moved(a: Float64s, b: Float64s, tolerance: float) -> bool:
    """Whether two arrays of log-probabilities differ by more than tolerance·max(1, |value|)."""
    return bool((apart(a, b) > tolerance).any())


def apart(a: Float64s, b: Float64s) -> Float64s:
    """How far log-probabilities of one shape are apart, relative to max(1, |value|)."""
    with np.errstate(invalid="ignore"):
        difference = np.where(a == b, 0.0, np.abs(a - b))  # −inf equals −inf
        scale = np.maximum(1.0, np.minimum(np.abs(a), np.abs(b)))
        relative: Float64s = difference / scale
    return relative
