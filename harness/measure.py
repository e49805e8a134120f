"""What is measured of a fitted model: every NLL with its interval, and the record around it."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

from harness import agreement, evaluate, split, statistics
from harness.contract import Model
from harness.errors import InvalidModel, UsageError
from harness.plan import DEV_CHOOSES, Cell, Plan
from harness.record import Data, Metrics, Plugin, Record, Target, finite
from harness.seeds import derive
from harness.selection import Choice

LARGEST = math.log(sys.float_info.max)  # nats: of more the perplexity is no number


def blank_record(made: Plan, cell: Cell, run_id: str, parts: split.Split) -> Record:
    """What is known of a cell before it runs."""
    choice, plugin = cell.choice, made.registry.plugin_of(cell.choice.spec.name, cell.choice.backend)
    corpora = {"train": parts.train, "dev": parts.dev.corpus, "test": parts.test.corpus}
    source = made.dataset.true_source
    entropy = getattr(source, "entropy_rate", None)
    remark = choice.spec.remarks.get(choice.preset or "")
    marks = [] if remark is None else [remark]
    if parts.dev_from_train:
        lent = len(parts.dev.corpus)
        marks.append(f"needs a dev part: the last {lent:,} training words are its dev, the others its train")
    by_steps = any(part.spec.steps_of(part.config) for part in (choice, *choice.members))
    if made.budget.seconds is not None and by_steps:
        marks.append(f"budget of {made.budget} wall clock: not reproducible to the bit")
    text = made.dataset.kind == "text"
    return Record(
        run_id=run_id,
        cell=cell.index,
        model=choice.spec.name,
        backend=choice.backend,
        options=choice.given,
        config=dict(choice.config),
        dataset=made.dataset.name,
        split=parts.method,
        repeat=cell.repeat,
        seed=cell.seed,
        stochastic=choice.spec.stochastic,
        budget=str(made.budget),
        status="ok",
        marks=marks,
        data=Data(
            dataset_sha256=made.dataset.sha256,
            split_fingerprint=parts.fingerprint,
            vocabulary=made.dataset.alphabet.size,
            alphabet=made.dataset.alphabet.characters,
            documents={part: len(corpus) for part, corpus in corpora.items()},
            targets={part: corpus.targets for part, corpus in corpora.items()},
            overlap=parts.overlap(),
            units=units_in(parts.test),
            in_sample=parts.in_sample,
            dev_from_train=parts.dev_from_train,
            window=window_of(choice) if text else {},
            entropy_rate=None if entropy is None else entropy(),
        ),
        plugin=Plugin(
            distribution=plugin.distribution,
            version=plugin.version,
            code_hash=choice.code_hash,
        ),
    )


def window_of(choice: Choice) -> dict[str, int]:
    """The windows in which running text is scored."""
    overlap = max(evaluate.WINDOW - evaluate.STRIDE, choice.spec.context_of(choice.config) or 0)
    return {"inputs": overlap + evaluate.STRIDE, "stride": evaluate.STRIDE}


def units_in(part: split.Part) -> int:
    """Units of uncertainty: distinct documents, or blocks of running text."""
    if part.corpus.kind == "text":
        return len(evaluate.in_blocks(np.zeros(part.corpus.targets)).lengths)
    return len(np.unique(part.units))


def dev_nll(model: Model, dev: split.Part, context: int | None) -> float:
    """The answer to a checkpoint."""
    nll = evaluate.score(model, dev.corpus, context).nll
    if nll is None:
        raise UsageError(f"checkpoint: {dev.absent}")
    return nll


def measure(
    made: Plan,
    model: Model,
    parts: split.Split,
    tolerance: float,
    context: int | None,
    record: Record,
) -> tuple[Metrics, dict[str, Any]]:
    """Every NLL of a fitted model with its interval, and the per-document scores behind them.

    In a search dev alone: the plan gives it no test part, and train says nothing that chooses.
    """
    metrics = Metrics()
    arrays: dict[str, Any] = {}
    for name, part in (("dev", parts.dev), ("test", parts.test)):
        if part.absent is not None:
            record.absent[f"{name}_nll"] = part.absent
            continue
        scores = evaluate.score(model, part.corpus, context)
        rng = np.random.default_rng(derive(record.seed, "agreement", name))
        # only now: whole documents must not be seen before they are scored
        if problem := agreement.disagreement(model, part.corpus, context, tolerance, rng):
            raise InvalidModel(problem)
        text = part.corpus.kind == "text"
        units = np.arange(len(scores.sums)) if text else part.units
        arrays |= {
            f"{name}_sums": scores.sums,
            f"{name}_lengths": scores.lengths,
            f"{name}_units": units,
        }
        if not text:
            arrays[f"{name}_seen"] = part.seen
        fill(metrics, name, scores, units, None if text else part.seen)
    truth = made.true_scores(parts)
    if truth is not None and metrics.test_nll is not None:
        excess = statistics.paired(arrays["test_sums"], truth.sums, truth.lengths, arrays["test_units"])
        metrics.excess, metrics.excess_half = excess.nats, excess.half
    if made.search is not None:
        record.absent["train_nll"] = DEV_CHOOSES
        return metrics, arrays
    train = evaluate.score_train(model, parts.train, context)
    metrics.train_nll = finite(train.nll)
    metrics.zero_probability["train"] = train.zero_probability
    return metrics, arrays


def to_target(record: Record, nll: float) -> Target:
    """Training seconds until the dev NLL was at or below `nll`, of a record that is measured.

    The first checkpoint that is there counts: what lies between two of them nobody has seen. A fit
    whose end alone is known took at most all of its time.
    """
    if record.status != "ok":
        return Target(nll=nll, reason=record.status)
    reached = [at for at, measured in record.curve if measured is not None and measured <= nll]
    if reached:
        return Target(nll=nll, seconds=reached[0])
    last = record.metrics.dev_nll
    if last is not None and last <= nll:
        return Target(nll=nll, seconds=record.timings.train_s, bound=True)
    if last is None:
        return Target(nll=nll, reason=record.absent.get("dev_nll", "targets of dev with p = 0"))
    best = min(measured for measured in (last, *(m for _, m in record.curve)) if measured is not None)
    return Target(nll=nll, reason=f"its best dev NLL is {best:.4f}")


def fill(metrics: Metrics, part: str, scores: evaluate.Scores, units: Any, seen: Any) -> None:
    """The metrics of one held-out part; all null where a target had p = 0."""
    metrics.zero_probability[part] = scores.zero_probability
    nll = finite(scores.nll)
    if nll is None:
        return
    sums, lengths = statistics.clusters(scores.sums, scores.lengths, units)
    se = statistics.standard_error(sums, lengths)
    setattr(metrics, f"{part}_nll", nll)
    setattr(metrics, f"{part}_nll_se", se)
    setattr(metrics, f"{part}_nll_half", statistics.half_interval(se, len(sums)))
    if part == "test":
        metrics.test_bits = nll / math.log(2)
        metrics.test_perplexity = math.exp(nll) if nll < LARGEST else None
        if seen is not None:
            metrics.test_nll_document = nll * int(scores.lengths.sum()) / len(scores.lengths)
    if seen is not None and seen.any():
        for side, mask in (("seen", seen), ("unseen", ~seen)):
            value = evaluate.mean_nll(scores.sums[mask], scores.lengths[mask])
            setattr(metrics, f"{part}_nll_{side}", value)
