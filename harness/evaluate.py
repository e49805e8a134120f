"""The only definition of NLL: nats per character, the end of a document included.

Line data is scored blind: the parent asks for one row after each distinct prefix (`next_log_probs`)
and no model sees what it is scored on. Running text, training NLL and throughput use whole rows
(`log_probs`); `harness.agreement` holds the two paths together.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.contract import Model
from harness.corpus import Corpus, Ints
from harness.errors import InvalidRows

ROUNDING = 1e-5  # how far above 0 a log-probability, and from 0 a row's logsumexp, may be
CELLS_A_CALL = 2**23  # B·T·V of one blind call; its answer may be as large for a plain `log_probs`
CELLS_A_BATCH = 2**20  # B·T·V of one whole-row batch
PADDED = 256  # positions of one whole-row batch that may be padding
WINDOW, STRIDE = 256, 128  # running text: inputs a window, and how far the next one moves
FEW = 16  # characters of context up to which distinct contexts are asked for instead of whole rows
BLOCK = 1000  # targets of running text that form one unit of uncertainty

Float64s = NDArray[np.float64]
Ask = Callable[[Ints], Any]


@dataclass(frozen=True, eq=False)
class Scores:
    """−ln p summed over each document (or each block of running text)."""

    sums: Float64s = field(repr=False)  # (G,) inf where a target had p = 0
    lengths: Ints = field(repr=False)  # (G,) targets
    zero_probability: int  # targets with p = 0

    @property
    def nll(self) -> float | None:
        """Nats per character; inf where p = 0 was met; None where there is nothing to score."""
        return mean_nll(self.sums, self.lengths)


def mean_nll(sums: Float64s, lengths: Ints) -> float | None:
    """Σ sums / Σ lengths by one `math.fsum`."""
    total = int(lengths.sum())
    return math.fsum(sums.tolist()) / total if total else None


def checked(rows: Any, shape: tuple[int, ...], asked: str = "log_probs") -> Any:
    """The model's answer where it is an array of that shape and of a legal type."""
    if not isinstance(rows, np.ndarray) or rows.dtype.kind != "f" or rows.dtype.itemsize < 4:
        got = f"an array of {rows.dtype}" if isinstance(rows, np.ndarray) else type(rows).__name__
        raise InvalidRows(f"{asked} returned {got}, not a numpy array of float32 or float64")
    if rows.shape != shape:
        raise InvalidRows(f"{asked} returned shape {rows.shape}, expected {shape}")
    return rows


def normalised(rows: Any, shape: tuple[int, ...], asked: str = "log_probs") -> Float64s:
    """Rows as float64, each with its logsumexp taken off; `InvalidRows` where one is wrong."""
    exact = checked(rows, shape, asked).astype(np.float64)
    if np.isnan(exact).any():
        raise InvalidRows(f"{asked} returned NaN")
    highest = exact.max(axis=-1, keepdims=True, initial=-np.inf)  # (N, 1)
    if (highest > ROUNDING).any():
        raise InvalidRows(f"{asked} returned a log-probability of {highest.max():.6g}, above 0")
    with np.errstate(divide="ignore", invalid="ignore"):
        lse = np.log(np.exp(exact - highest).sum(axis=-1, keepdims=True)) + highest  # (N, 1)
    off = np.abs(np.where(np.isnan(lse), -np.inf, lse))
    if (off > ROUNDING).any():
        total = float(np.exp(exact).sum(axis=-1).ravel()[int(off.argmax())])
        raise InvalidRows(f"{asked}: a row's probabilities sum to {total:.6g}, not 1")
    result: Float64s = exact - lse
    return result


def blind(model: Model, corpus: Corpus) -> Scores:
    """Line data by prefixes only, summed over each document."""
    return by_document(blind_targets(model, corpus), corpus)


def blind_targets(model: Model, corpus: Corpus) -> Float64s:
    """−ln p of every target of line data (N,), asked by prefixes only."""
    scored = np.zeros(corpus.targets)  # (N,)
    for where, rows, row in blind_rows(model, corpus):
        scored[where] = -rows[row, corpus.tokens[where + 1]]
    return scored


def blind_rows(model: Model, corpus: Corpus) -> Iterator[tuple[Ints, Float64s, Ints]]:
    """The rows of all targets of line data, asked by prefixes only: one call a length, no repeats.

    The k-th call asks for the rows after the distinct prefixes of k inputs (boundary included). Gives
    where its targets stand (A,), the rows (P, V) and, of each target, which row is its own (A,).
    """
    v = corpus.alphabet.size
    prefixes = np.zeros((1, 1), np.int64)  # (P, k) distinct
    which = np.zeros(len(corpus), np.int64)  # (G,) the prefix of each document
    for k in range(1, int(corpus.lengths.max(initial=0)) + 1):
        alive = np.flatnonzero(corpus.lengths >= k)
        used, row = np.unique(which[alive], return_inverse=True)
        prefixes = prefixes[used]
        where = corpus.offsets[alive] + k - 1  # (A,)
        yield where, ask(model.next_log_probs, prefixes, v), row
        targets = corpus.tokens[where + 1].astype(np.int64)
        longer = corpus.lengths[alive] > k
        keys, which[alive[longer]] = np.unique(row[longer] * v + targets[longer], return_inverse=True)
        prefixes = np.column_stack([prefixes[keys // v], keys % v])


def by_document(scored: Float64s, corpus: Corpus) -> Scores:
    """Per-target −ln p of line data (N,) -> sums over documents."""
    document = np.repeat(np.arange(len(corpus)), corpus.lengths)  # (N,)
    sums = np.bincount(document, scored, len(corpus)).astype(np.float64)
    return Scores(sums, corpus.lengths, int(np.isinf(scored).sum()))


def ask(method: Ask, inputs: Ints, v: int) -> Float64s:
    """`next_log_probs` in calls that fit in memory: (P, T) -> (P, V), checked and normalised."""
    at_once = max(1, CELLS_A_CALL // (inputs.shape[1] * v))
    answers = []
    for first in range(0, len(inputs), at_once):
        some = np.ascontiguousarray(inputs[first : first + at_once])
        answers.append(normalised(method(some), (len(some), v), "next_log_probs"))
    return answers[0] if len(answers) == 1 else np.concatenate([np.zeros((0, v)), *answers])


def whole(model: Model, corpus: Corpus) -> Scores:
    """Line data by whole rows, padded and sorted by length: documents in their own order."""
    v = corpus.alphabet.size
    sums = np.zeros(len(corpus))
    zero = 0
    for documents in batches(corpus):
        inputs, targets, mask = corpus.batch(documents)  # (B, T)
        rows = checked(model.log_probs(inputs), (*inputs.shape, v))  # (B, T, V)
        legal = normalised(rows[mask], (int(mask.sum()), v))  # (N, V): rows on padding are nobody's
        scored = np.zeros(mask.shape)  # (B, T)
        scored[mask] = -legal[np.arange(len(legal)), targets[mask]]
        zero += int(np.isinf(scored).sum())
        sums[documents] = scored.sum(axis=1)
    return Scores(sums, corpus.lengths, zero)


def batches(corpus: Corpus) -> Iterator[Ints]:
    """Document indices, shortest first: documents of a length together, as many as fit in a whole-row batch.

    Longer ones join only while that pads few positions, so that rare lengths do not each take a call.
    """
    order, v = corpus.by_length, corpus.alphabet.size
    lengths = corpus.lengths[order].tolist()  # ascending
    first = 0
    while first < len(order):
        last, padded = first + 1, 0
        while last < len(order):
            padded += (last - first) * (lengths[last] - lengths[last - 1])
            if padded > PADDED or (last + 1 - first) * lengths[last] * v > CELLS_A_BATCH:
                break
            last += 1
        yield order[first:last]
        first = last


def running(model: Model, corpus: Corpus, context: int | None = None) -> Scores:
    """Running text in overlapping windows, summed over blocks of 1,000 targets."""
    return in_blocks(running_targets(model, corpus, context))


def running_targets(model: Model, corpus: Corpus, context: int | None = None) -> Float64s:
    """−ln p of every target of running text (N,), in overlapping windows, each target scored once.

    A target has at least 128 characters of history (at least `context`, where that is more) or all
    there is.
    """
    v = corpus.alphabet.size
    scored = np.zeros(corpus.targets)  # (N,)
    overlap = overlap_for(context)
    for starts, width in text_windows(corpus, overlap):
        where = starts[:, None] + np.arange(width)  # (B, T)
        inputs = corpus.tokens[where].astype(np.int64)
        targets = corpus.tokens[where + 1].astype(np.int64)
        rows = normalised(model.log_probs(inputs), (*inputs.shape, v))  # (B, T, V)
        picked = -np.take_along_axis(rows, targets[..., None], axis=2)[..., 0]  # (B, T)
        for start, values in zip(starts.tolist(), picked, strict=True):
            fresh = 0 if start == 0 else overlap
            scored[start + fresh : start + width] = values[fresh:]
    return scored


def overlap_for(context: int | None) -> int:
    """How much of a window the one before it has scored: 128 inputs, or a longer promised context."""
    return max(WINDOW - STRIDE, context or 0)


def window_start(target: int, overlap: int) -> int:
    """The first input of the window that scores a target of running text (both from 0)."""
    return max(0, (target - overlap) // STRIDE) * STRIDE


def text_windows(corpus: Corpus, overlap: int) -> Iterator[tuple[Ints, int]]:
    """Groups of windows over running text: where they start, and how wide they are.

    Windows of overlap + 128 inputs move by 128; the last is as wide as what is left.
    """
    n, width = corpus.targets, overlap + STRIDE
    starts = np.arange(0, max(1, n - overlap), STRIDE) if n else np.zeros(0, np.int64)
    full = starts[starts + width <= n]
    at_once = max(1, CELLS_A_BATCH // (width * corpus.alphabet.size))
    for first in range(0, len(full), at_once):
        yield full[first : first + at_once], width
    for start in starts[len(full) :]:
        yield np.array([start]), n - int(start)


def in_blocks(scored: Float64s) -> Scores:
    """Per-target −ln p -> sums over blocks of 1,000 consecutive targets; a short tail joins the last."""
    n = len(scored)
    edges = np.arange(0, max(n - BLOCK + 1, 1), BLOCK) if n else np.zeros(0, np.int64)
    lengths = np.diff(np.append(edges, n)).astype(np.int64)
    sums = np.add.reduceat(scored, edges) if n else np.zeros(0)
    return Scores(sums, lengths, int(np.isinf(scored).sum()))


def by_windows(model: Model, corpus: Corpus, context: int) -> Scores:
    """Any corpus under a model that sees `context` characters: one row a distinct context, exact."""
    rows, inverse = window_rows(model, corpus, context)  # (U, V), (N,)
    scored = -rows[inverse, corpus.tokens[1:]]  # (N,)
    if corpus.kind == "text":
        return in_blocks(scored)
    sums = np.add.reduceat(scored, corpus.offsets[:-1]) if len(corpus) else np.zeros(0)
    return Scores(sums, corpus.lengths, int(np.isinf(scored).sum()))


def window_rows(model: Model, corpus: Corpus, context: int) -> tuple[Float64s, Ints]:
    """One row a distinct context, (U, V), and of each target which row is its own, (N,)."""
    contexts, inverse = corpus.unique_windows(max(1, context))  # (U, context), (N,)
    return ask(model.next_log_probs, contexts, corpus.alphabet.size), inverse


def score(model: Model, corpus: Corpus, context: int | None) -> Scores:
    """The protocol of a held-out part: blind for lines, windows for running text."""
    return gathered(score_targets(model, corpus, context), corpus)


def score_targets(model: Model, corpus: Corpus, context: int | None) -> Float64s:
    """The same protocol, target by target: −ln p (N,)."""
    if corpus.kind == "lines":
        return blind_targets(model, corpus)
    return running_targets(model, corpus, context)


def gathered(scored: Float64s, corpus: Corpus) -> Scores:
    """Per-target −ln p (N,) -> sums over documents, or over blocks of running text."""
    return by_document(scored, corpus) if corpus.kind == "lines" else in_blocks(scored)


def score_train(model: Model, corpus: Corpus, context: int | None) -> Scores:
    """Training NLL: distinct contexts where the model's context is finite, else whole rows."""
    if context is not None and context <= FEW:
        return by_windows(model, corpus, context)
    return whole(model, corpus) if corpus.kind == "lines" else running(model, corpus, context)


def throughput(
    model: Model,
    corpus: Corpus,
    context: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> float | None:
    """Targets per second that `log_probs` answers, padding uncounted: the median of passes in 0.2 s.

    The harness's own work, batches and checks, is off the clock.
    """
    if not corpus.targets:
        return None
    if corpus.kind == "lines":
        calls = [corpus.batch(documents).inputs for documents in batches(corpus)]
    else:
        overlap = overlap_for(context)
        calls = [
            corpus.tokens[starts[:, None] + np.arange(width)].astype(np.int64)
            for starts, width in text_windows(corpus, overlap)
        ]
    times: list[float] = []
    while not times or (sum(times) < 0.2 and len(times) < 25):
        before = clock()
        for inputs in calls:
            model.log_probs(inputs)
        times.append(clock() - before)
    return corpus.targets / max(sorted(times)[len(times) // 2], 1e-9)
