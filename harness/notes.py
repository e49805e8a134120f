"""What must be known to read a table: what was measured, and what its figures can and cannot say."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from statistics import median

from harness.compare import Standing
from harness.figures import short, tiny
from harness.formats import clean
from harness.labels import called, called_row
from harness.record import Data, Header, Record
from harness.statistics import FEWEST, METHOD

PARTS = ("train", "dev", "test")


def heading(header: Header, rows: Sequence[Standing]) -> list[str]:
    """What was measured: dataset and split, then the sizes of the parts."""
    data = measured(rows)
    targets = " / ".join(f"{data.targets[part]:,}" for part in PARTS) + " characters"
    if data.window:
        size = f"{targets}, windows of {data.window['inputs']} moved by {data.window['stride']}"
    else:
        size = " / ".join(f"{data.documents[part]:,}" for part in PARTS) + f" documents, {targets}"
    return [
        clean(f"{header.dataset}, split {header.split}, V = {data.vocabulary}"),
        clean(f"train / dev / test: {size}"),
    ]


def measured(rows: Sequence[Standing]) -> Data:
    """The data of a row that is ok, where there is one."""
    return next((row.record for row in rows if row.ok), rows[0].record).data


def notes(rows: Sequence[Standing], looks: int | None = None, width: int | None = None) -> list[str]:
    """What stands underneath: how to read it, its scope, overlap, looks, warnings, reasons.

    width: long lists of names are broken over lines.
    """
    if all(record.timings.benchmark_s is not None for row in rows for record in row.records):
        return remarks(rows)  # imported times: no documents, no seeds
    data = measured(rows)
    unit = "blocks of 1,000 test characters" if data.window else "distinct test documents"
    ends = "" if data.window else ", end included"
    lines = [f"NLL: nats per character{ends}; ±: half a 95 % interval over {data.units:,} {unit}."]
    if not data.units:
        lines = ["The test part is empty: nothing is scored on it, and nothing is ranked."]
    elif data.in_sample:
        lines.append("In-sample: train = dev = test, so nothing is ranked.")
    elif data.units < FEWEST:
        lines.append(f"Fewer than {FEWEST} {unit}: no intervals, no ranks apart.")
    elif any(row.rank for row in rows):
        lines.append(
            "#: rank, paired on test, 95 % (Holm); rows of one rank are not surely behind its first."
        )
    elif any(row.test for row in rows):
        lines.append("Scores of documents were not kept: no ranks, and no intervals over several seeds.")
    lines += scope(rows, width)
    if power := detectable(rows):
        low, middle, high = power
        found = low if low == high else f"{low} to {high}, median {middle}"
        lines.append(f"Smallest difference to the best found with 80 % power: {found} nats.")
    if not data.window and not data.in_sample:
        lines.append(
            f"Overlap: {data.overlap['dev']:,} of {data.documents['dev']:,} dev and "
            f"{data.overlap['test']:,} of {data.documents['test']:,} test documents stand in train"
            + ("; `unseen` leaves them out." if data.overlap["test"] else ".")
        )
    if looks is not None and data.units and not data.in_sample:
        lines.append(f"Test scores on record for this split, this run included: {looks:,}.")
    if data.entropy_rate is not None:
        lines.append(
            f"True source: entropy rate {data.entropy_rate:.4f} nats per target; excess is paired with "
            "its own scores."
        )
    return [*lines, *target_notes(rows), *audits(rows, width), *warnings(rows), *remarks(rows)]


def detectable(rows: Sequence[Standing]) -> tuple[str, str, str] | None:
    """Least, median and largest of the rows' differences to the best that 80 % of test parts would show."""
    found = [row.behind.detectable for row in rows if row.behind and row.behind.detectable]  # 0: equal rows
    if not found:
        return None
    low, middle, high = (tiny(x) if x < 5e-4 else f"{x:.4f}" for x in (min(found), median(found), max(found)))
    return low, middle, high


def audits(rows: Sequence[Standing], width: int | None = None) -> list[str]:
    """Which rows have a certificate; nothing where none has. A failed audit is a warning."""
    by_audit: dict[str, list[str]] = {}
    failures = []
    for row in rows:
        found, name = row.record.audit, called_row(row)
        where = f" on {found.elsewhere}" if found is not None and found.elsewhere else ""
        if found is not None and found.failed:
            failures.append(
                clean(f"WARNING {name} failed its audit{where} ({found.date}): {', '.join(found.failed)}.")
            )
        else:
            said = "not audited" if found is None else f"passed {found.passed}/{found.passed}{where}"
            by_audit.setdefault(said, []).append(name)
    if not failures and set(by_audit) <= {"not audited"}:
        return []
    said = "; ".join(f"{what}: {', '.join(names)}" for what, names in by_audit.items())
    return [*(filled(clean(f"Audit: {said}."), width) if said else []), *failures]


def target_notes(rows: Sequence[Standing]) -> list[str]:
    """How to read the seconds to a target, and who did not come to it."""
    targets = {record.target.nll for row in rows for record in row.records if record.target is not None}
    if not targets:
        return []
    lines = [
        f"s to {', '.join(f'{nll:g}' for nll in sorted(targets))}: training seconds to the first checkpoint "
        "at that dev NLL; ≤: all of the fit."
    ]
    for row in rows:
        why = {r.target.reason for r in row.records if r.target is not None and r.target.reason}
        if why:
            lines.append(clean(f"{called_row(row)}: did not reach the target: {'; '.join(sorted(why))}."))
    return lines


def scope(rows: Sequence[Standing], width: int | None = None) -> list[str]:
    """What the figures speak of: a checkpoint, several, or from five seeds on the method."""
    seeds = max(len(row.records) for row in rows)
    if all(row.steady for row in rows):
        return ["Scope: a row speaks of its method: these models draw nothing, one seed stands for all."]
    if seeds == 1:
        return [
            f"Scope: a row speaks of one checkpoint (one seed), not of its method: that takes {METHOD} seeds."
        ]
    if seeds < METHOD:
        lines = [
            f"Scope: a row speaks of {seeds} checkpoints, their mean over seeds; ± holds documents alone.",
            f"{seeds} seeds are too few to speak of the method: that takes {METHOD}.",
        ]
    else:
        lines = [
            f"Scope: a row speaks of the method, by the mean over {seeds} seeds; ± holds documents and seeds."
        ]
    moving = [
        f"{called_row(row)} {short(row.test.sd_seeds, 5)}" for row in rows if row.test and row.test.sd_seeds
    ]
    still = [called_row(row) for row in rows if row.test and (row.steady or row.test.sd_seeds == 0)]
    if moving:
        lines.append(f"Standard deviation of test NLL over seeds: {', '.join(moving)}.")
    if still:
        lines.append(f"The same with every seed: {', '.join(still)}.")
    for row in rows:
        if 0 < row.ok < seeds and not row.steady:
            few = "; too few to speak of the method" if row.ok < METHOD <= seeds else ""
            lines.append(f"{called_row(row)}: {row.ok} of {seeds} seeds are ok, the row is their mean{few}.")
    return [part for line in lines for part in filled(clean(line), width)]


def filled(text: str, width: int | None) -> list[str]:
    """A text in lines of at most this width."""
    if width is None:
        return [text]
    return textwrap.wrap(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def warnings(rows: Sequence[Standing]) -> list[str]:
    """What should make a reader stop: below the true source, dev and test apart."""
    lines = []
    for row in rows:
        name = clean(called_row(row))
        excess = row.excess
        if excess is not None and excess.half is not None and excess.nats + excess.half < 0:
            lines.append(f"WARNING {name} is surely below the true source: a leak or a bug.")
        if row.test is None or row.dev is None or row.record.data.in_sample:
            continue
        if row.test.se_docs is not None and row.dev.se_docs is not None:
            apart = row.test.nats - row.dev.nats
            if abs(apart) > 1.96 * math.hypot(row.test.se_docs, row.dev.se_docs) + 1e-9:
                lines.append(
                    f"{name}: test and dev differ by {apart:+.4f}, more than their intervals explain."
                )
    return lines


def remarks(rows: Sequence[Standing]) -> list[str]:
    """Reasons, p = 0 and marks, once where all repeats of a row have the same; then what is absent."""
    lines = []
    for row in rows:
        said: dict[str, list[Record]] = {}
        for record in row.records:
            for text in remarks_of(record):
                said.setdefault(text, []).append(record)
        for text, who in said.items():
            names = [called_row(row)] if len(who) == len(row.records) else [called(r) for r in who]
            lines += [clean(f"{name}: {text}") for name in names]
    absent = {f"{what}: {why}" for row in rows for r in row.records for what, why in r.absent.items()}
    return lines + [clean(f"Not measured: {text}.") for text in sorted(absent)]


def remarks_of(record: Record) -> list[str]:
    """Its reason, its targets with p = 0, its marks."""
    zero = [f"{count:,} in {part}" for part, count in record.metrics.zero_probability.items() if count]
    return [
        *([f"{record.status}: {record.reason}"] if record.reason else []),
        *([f"targets with p = 0: {', '.join(zero)}."] if zero else []),
        *record.marks,
    ]
