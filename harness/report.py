"""Records -> the table that people read (tabulate).

Every cell is formatted here and passed as text: tabulate is told not to parse numbers.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from tabulate import tabulate

from harness.compare import Scores, Standing, standings
from harness.record import Header, Record
from harness.statistics import FEWEST

ABSENT = "–"
SHOWN_SAMPLES = 5
SAMPLE_WIDTH = 90  # characters of the samples of one model
LEFT = {"model": "left", "backend": "left", "status": "left"}  # figures stand right


def table(header: Header, records: Sequence[Record], scores: Scores, looks: int | None = None) -> str:
    """The result table with what must be known to read it."""
    if not records:
        return "no cell has finished"
    rows = standings(records, scores)
    data = next((r.data for r in records if r.status == "ok"), records[0].data)
    lines = [
        heading(header, data),
        "",
        grid(columns(rows), LEFT),
        "",
        *notes(header, rows, looks),
    ]
    return "\n".join(lines)


def heading(header: Header, data: Any) -> str:
    """What was measured: `makemore-names, split lecture: 25,626 / 3,203 / 3,204 documents …`."""
    documents = " / ".join(f"{data.documents[part]:,}" for part in ("train", "dev", "test"))
    targets = " / ".join(f"{data.targets[part]:,}" for part in ("train", "dev", "test"))
    if data.window:
        return clean(
            f"{header.dataset}, split {header.split}: train / dev / test {targets} characters, "
            f"V = {data.vocabulary}, windows of {data.window['inputs']} moved by {data.window['stride']}"
        )
    return clean(
        f"{header.dataset}, split {header.split}: train / dev / test {documents} documents, "
        f"{targets} characters, V = {data.vocabulary}"
    )


def columns(rows: Sequence[Standing]) -> dict[str, list[str]]:
    """Column title -> one text a row; columns that no row can fill are left out."""
    records = [row.record for row in rows]
    result: dict[str, list[str]] = {
        "rank": [ABSENT if row.rank is None else str(row.rank) for row in rows],
        "model": [clean(label(record)) for record in records],
        "backend": [clean(record.backend) for record in records],
        "params": [whole(record.parameters) for record in records],
        "dev NLL": [nats(r, r.metrics.dev_nll, "dev") for r in records],
        "test NLL": [interval(nats(r, r.metrics.test_nll, "test"), r.metrics.test_nll_half) for r in records],
        "bits": [number(r.metrics.test_bits, 3) for r in records],
        "behind best": [behind(row) for row in rows],
        "excess": [interval(number(r.metrics.excess, 4), r.metrics.excess_half) for r in records],
        "unseen": [number(r.metrics.test_nll_unseen, 4) for r in records],
        "train s": [seconds(r.timings.train_s) for r in records],
        "train ch/s": [rate(r.throughput.train_chars_per_s) for r in records],
        "eval ch/s": [rate(r.throughput.eval_chars_per_s) for r in records],
        "status": [r.status for r in records],
    }
    optional = {"excess", "unseen", "behind best"}
    return {
        title: cells
        for title, cells in result.items()
        if title not in optional or any(cell != ABSENT for cell in cells)
    }


def grid(cells: Mapping[str, Sequence[str]], align: Mapping[str, str]) -> str:
    """tabulate, told to parse nothing."""
    return tabulate(
        list(zip(*cells.values(), strict=True)),
        headers=list(cells),
        tablefmt="simple",
        disable_numparse=True,
        colalign=[align.get(title, "right") for title in cells],
    )


def notes(header: Header, rows: Sequence[Standing], looks: int | None) -> list[str]:
    """What stands underneath: how to read it, overlap, detectable effect, looks, reasons."""
    records = [row.record for row in rows]
    data = next((r.data for r in records if r.status == "ok"), records[0].data)
    unit = "blocks of 1,000 characters" if data.window else "distinct documents"
    ends = "" if data.window else ", end included"
    lines = [
        f"NLL in nats per character{ends}; ± is half a 95 % interval over {data.units:,} {unit} of test."
    ]
    if data.in_sample:
        lines.append("In-sample: train = dev = test, so nothing is ranked.")
    elif data.units < FEWEST:
        lines.append(f"Fewer than {FEWEST} {unit} in test: no intervals, no ranks apart.")
    else:
        lines.append(
            "Ranks: paired on test against the best, 95 % (Holm); models that share a rank cannot "
            "be told apart."
        )
    detected = [row.behind.detectable for row in rows if row.behind and row.behind.detectable is not None]
    if detected:
        lines.append(
            f"Smallest difference to the best that this test part would show (80 % power): "
            f"{min(detected):.4f} to {max(detected):.4f}, median {median(detected):.4f} nats."
        )
    if not data.window and not data.in_sample:
        lines.append(
            f"Overlap: {data.overlap['dev']:,} of {data.documents['dev']:,} dev and "
            f"{data.overlap['test']:,} of {data.documents['test']:,} test documents stand in train"
            + ("; `unseen` leaves them out." if data.overlap["test"] else ".")
        )
    if looks is not None and not data.in_sample:
        lines.append(f"Test scores on record for this split, this run included: {looks:,}.")
    if data.entropy_rate is not None:
        lines.append(
            f"True source: entropy rate {data.entropy_rate:.4f} nats per target; excess is paired "
            "with its own scores on the same documents."
        )
    lines += warnings(records)
    seen: set[str] = set()
    for record in records:
        said = [f"{record.status}: {record.reason}"] if record.reason else []
        for text in (*said, *record.marks):
            lines.append(clean(f"{label(record)}@{record.backend}: {text}"))
        seen |= {f"{metric}: {reason}" for metric, reason in record.absent.items()}
    lines += [clean(f"Not measured: {text}.") for text in sorted(seen)]
    return lines


def warnings(records: Sequence[Record]) -> list[str]:
    """What should make a reader stop: below the true source, dev and test apart, p = 0."""
    lines = []
    for r in records:
        m = r.metrics
        name = clean(f"{label(r)}@{r.backend}")
        if m.excess is not None and m.excess_half is not None and m.excess + m.excess_half < 0:
            lines.append(f"WARNING {name} is surely below the true source: a leak or a bug.")
        if None not in (m.test_nll, m.dev_nll, m.test_nll_se, m.dev_nll_se) and not r.data.in_sample:
            apart = (m.test_nll or 0.0) - (m.dev_nll or 0.0)
            noise = math.hypot(m.test_nll_se or 0.0, m.dev_nll_se or 0.0)
            if abs(apart) > 1.96 * noise + 1e-9:
                lines.append(
                    f"{name}: test and dev differ by {apart:+.4f}, more than their intervals explain."
                )
        zero = [f"{count:,} in {part}" for part, count in m.zero_probability.items() if count]
        if zero:
            lines.append(clean(f"{name}: targets with p = 0: {', '.join(zero)}."))
    return lines


def samples(records: Sequence[Record], drawn: Any) -> str:
    """A few samples of each model on one line each; a boundary at once is shown as ∅."""
    rows = []
    for record in records:
        texts = drawn(record)
        if texts:
            shown = [clean(text) or "∅" for text in texts[:SHOWN_SAMPLES]]
            if any("\n" in text for text in texts) or record.data.window:
                shown = [ascii(texts[0][:70])[1:-1] + "…"]
            line = ", ".join(shown)
            line = line if len(line) <= SAMPLE_WIDTH else line[: SAMPLE_WIDTH - 1] + "…"
            rows.append((clean(f"{label(record)}@{record.backend}"), line))
    if not rows:
        return ""
    body = tabulate(rows, tablefmt="plain", disable_numparse=True)
    return f"Samples\n{body}"


def label(record: Record) -> str:
    """Model and options, and the repeat where it is not the first."""
    return record.label + (f" #{record.repeat + 1}" if record.repeat else "")


def nats(record: Record, value: float | None, part: str) -> str:
    """An NLL to four digits; `inf` where a target had p = 0; absent otherwise."""
    if value is not None:
        return f"{value:.4f}"
    return "inf" if record.metrics.zero_probability.get(part, 0) else ABSENT


def interval(value: str, half: float | None) -> str:
    """`2.1668 ± 0.0134`."""
    return value if half is None else f"{value} ± {half:.4f}"


def behind(row: Standing) -> str:
    """How far behind the best, paired."""
    if row.behind is None:
        return "best" if row.rank == 1 else ABSENT
    return interval(f"{row.behind.nats:+.4f}", row.behind.half)


def number(value: float | None, digits: int) -> str:
    """A figure with fixed digits."""
    return ABSENT if value is None else f"{value:.{digits}f}"


def whole(value: int | None) -> str:
    """An integer with thousands marked."""
    return ABSENT if value is None else f"{value:,}"


def seconds(value: float | None) -> str:
    """Seconds to three digits that count."""
    if value is None:
        return ABSENT
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"


def rate(value: float | None) -> str:
    """Characters a second: 950, 12k, 3.4M."""
    if value is None:
        return ABSENT
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            scaled = value / size
            return f"{scaled:.0f}{unit}" if scaled >= 10 else f"{scaled:.1f}{unit}"
    return f"{value:.0f}"


def clean(text: str) -> str:
    """A foreign text made harmless for a terminal: control characters become visible escapes."""
    return "".join(
        ascii(character)[1:-1]
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        else character
        for character in text
    )


def as_json(header: Header, records: Sequence[Record]) -> str:
    """Header and records as one JSON document."""
    import msgspec

    document = {"header": msgspec.to_builtins(header), "records": msgspec.to_builtins(records)}
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)


def simple(rows: Sequence[Mapping[str, Any]]) -> str:
    """A plain table of dictionaries, for lists and cards; the first row names the columns."""
    if not rows:
        return ""
    cells = {title: [clean(str(row[title])) for row in rows] for title in rows[0]}
    return grid(cells, dict.fromkeys(cells, "left"))
