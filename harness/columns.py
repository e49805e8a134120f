"""The columns of a table: key, title, how a row's value becomes text, and the value itself.

A row's figures are means over its repeats. Raw values go by the names of CONTRACT, "Records".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.compare import Standing
from harness.errors import UnknownName
from harness.figures import (
    ABSENT,
    fine_seconds,
    fixed,
    interval,
    megabytes,
    rate,
    seconds,
    short,
    tiny,
    whole,
)
from harness.formats import Cells, clean
from harness.labels import called_row, options
from harness.statistics import Difference
from harness.values import (
    at_most,
    audit_date,
    audited,
    bits,
    bound,
    largest,
    metric,
    nll,
    part,
    perplexity,
    reason,
    rests_on,
    speed,
    statistic,
    status,
    target_title,
    timing,
    to_target,
    zero_probability,
)

Raw = str | int | float | None
Shown = Literal["always", "filled", "asked"]  # filled: in the default where some row has it


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    key: str
    title: str
    text: Callable[[Standing], str]
    raw: Mapping[str, Callable[[Standing], Raw]]  # machine key -> value, floats to the last bit
    shown: Shown = "asked"
    words: bool = False  # stands left, and may be broken over lines
    name: bool = False  # repeated where a wide table is continued
    titled: Callable[[Sequence[Standing]], str] | None = None  # a title that depends on the rows

    def cells(self, rows: Sequence[Standing]) -> Cells:
        """Its texts, foreign ones made harmless."""
        title = self.titled(rows) if self.titled else self.title
        return Cells(title, [clean(self.text(row)) for row in rows], self.words, self.name)


# ---- texts of a row


def behind(row: Standing) -> str:
    """How far behind the best, paired."""
    return "best" if row.behind is None and row.rank == 1 else distance(row.behind)


def distance(found: Difference | None) -> str:
    """A paired difference with its half-interval."""
    if found is None:
        return ABSENT
    if 0 < abs(found.nats) < 5e-4 and found.half is not None:  # what four digits would hide
        return f"{tiny(found.nats)}±{tiny(found.half)}"
    return interval(short(found.nats), found.half)


def behind_on(documents: str) -> Column:
    """How far behind the best on some of the test documents."""
    name = f"behind_{documents}"
    return Column(
        f"behind-{documents}",
        f"behind, {documents}",
        lambda row: distance(getattr(row, name)),
        {name: part(name, "nats"), f"{name}_half": part(name, "half")},
    )


# ---- the columns


def of(
    key: str,
    title: str,
    field: str,
    value: Callable[[Standing], Any],
    text: Callable[[Any], str],
    shown: Shown = "asked",
) -> Column:
    """A column of one value."""
    return Column(key, title, lambda row: text(value(row)), {field: value}, shown)


def sampled(key: str, title: str, name: str) -> Column:
    """A column of a statistic: of the samples, and in brackets of real held-out documents."""
    drawn, real = statistic("drawn", name), statistic("real", name)

    def text(row: Standing) -> str:
        beside = real(row)
        return short(drawn(row), 3) + ("" if beside is None else f" ({short(beside, 3)})")

    return Column(key, title, text, {f"sample_{name}": drawn, f"real_{name}": real})


def as_it_is(value: Raw) -> str:
    """A word or an integer."""
    return ABSENT if value is None else str(value)


def five(value: float | None) -> str:
    """A standard error or deviation, to five digits."""
    return short(value, 5)


def p_value(p: float | None) -> str:
    """P to four digits."""
    return "<.0001" if p is not None and p < 0.0001 else short(p)


COLUMNS = (
    of("rank", "#", "rank", lambda row: row.rank, as_it_is, "always"),
    Column(
        "model",
        "model",
        called_row,
        {
            "model": lambda row: row.record.model,
            "backend": lambda row: row.record.backend,
            "options": lambda row: options(row.record),
            "repeat": lambda row: row.record.repeat if len(row.records) == 1 else None,
        },
        "always",
        words=True,
        name=True,
    ),
    of("params", "params", "parameters", largest(lambda record: record.parameters), whole, "always"),
    of("dev", "dev NLL", "dev_nll", nll("dev"), fixed, "always"),
    Column(
        "test",
        "test NLL",
        lambda row: interval(fixed(nll("test")(row)), part("test", "half")(row)),
        {"test_nll": nll("test"), "test_nll_half": part("test", "half")},
        "always",
    ),
    of("bits", "bits", "test_bits", bits, lambda value: fixed(value, 3), "always"),
    Column(
        "behind",
        "behind best",
        behind,
        {
            "behind": part("behind", "nats"),
            "behind_half": part("behind", "half"),
        },
        "filled",
    ),
    of("train-s", "train s", "train_s", timing("train_s"), seconds, "always"),
    of("train-rate", "train ch/s", "train_chars_per_s", speed("train_chars_per_s"), rate, "always"),
    of("eval-rate", "eval ch/s", "eval_chars_per_s", speed("eval_chars_per_s"), rate, "always"),
    Column(
        "to-target",
        "s to target",
        lambda row: ("≤" if at_most(row) and to_target(row) is not None else "") + seconds(to_target(row)),
        {"to_target_s": to_target, "to_target_bound": bound},
        "filled",
        titled=target_title,
    ),
    Column("status", "status", status, {"status": status}, "always", words=True),
    Column(
        "excess",
        "excess",
        lambda row: interval(short(part("excess", "nats")(row)), part("excess", "half")(row)),
        {
            "excess": part("excess", "nats"),
            "excess_half": part("excess", "half"),
        },
        "filled",
    ),
    of("unseen", "unseen", "test_nll_unseen", metric("test_nll_unseen"), fixed, "filled"),
    # what --columns may ask for
    of("seen", "seen", "test_nll_seen", metric("test_nll_seen"), fixed),
    behind_on("unseen"),
    behind_on("seen"),
    of("dev-unseen", "dev unseen", "dev_nll_unseen", metric("dev_nll_unseen"), fixed),
    of("dev-seen", "dev seen", "dev_nll_seen", metric("dev_nll_seen"), fixed),
    of("dev-half", "dev ±", "dev_nll_half", part("dev", "half"), short),
    of("train", "train NLL", "train_nll", nll("train"), fixed),
    of("perplexity", "perplexity", "test_perplexity", perplexity, fixed),
    of("document", "nats/doc", "test_nll_document", metric("test_nll_document"), fixed),
    of("p", "p", "behind_p", part("behind", "p"), p_value),
    of("se", "se", "test_nll_se", part("test", "se"), five),
    of("se-docs", "se docs", "test_nll_se_docs", part("test", "se_docs"), five),
    of("sd-seeds", "sd seeds", "test_nll_sd_seeds", part("test", "sd_seeds"), five),
    of("zero", "p=0", "zero_probability_test", largest(zero_probability), as_it_is),
    of("start-s", "start s", "start_s", timing("start_s"), seconds),
    of("warmup-s", "warm-up s", "warmup_s", timing("warmup_s"), seconds),
    of("checkpoint-s", "checkpoint s", "checkpoint_s", timing("checkpoint_s"), seconds),
    of("evaluate-s", "evaluate s", "evaluate_s", timing("evaluate_s"), seconds),
    of("sample-s", "sample s", "sample_s", timing("sample_s"), seconds),
    of("benchmark-s", "benchmark s", "benchmark_s", timing("benchmark_s"), fine_seconds, "filled"),
    of("sample-rate", "sample ch/s", "sample_chars_per_s", speed("sample_chars_per_s"), rate),
    sampled("novel", "novel", "novel"),
    sampled("duplicates", "duplicates", "duplicates"),
    sampled("truncated", "truncated", "truncated"),
    sampled("length", "length", "mean_length"),
    sampled("length-distance", "length distance", "length_distance"),
    sampled("unigram-distance", "1-gram distance", "unigram_distance"),
    sampled("bigram-distance", "2-gram distance", "bigram_distance"),
    sampled("trigram-distance", "3-gram distance", "trigram_distance"),
    of("memory", "peak MB", "peak_rss_bytes", largest(lambda record: record.peak_rss_bytes), megabytes),
    of("seeds", "seeds", "seeds", lambda row: row.ok, as_it_is),
    of("seed", "seed", "seed", lambda row: row.record.seed if len(row.records) == 1 else None, as_it_is),
    Column(
        "rests-on",
        "rests on",
        lambda row: as_it_is(rests_on(row)),
        {"rests_on": rests_on},
        words=True,
    ),
    Column(
        "audit",
        "audit",
        lambda row: as_it_is(audited(row)),
        {"audit": audited, "audit_date": audit_date},
        words=True,
    ),
    Column("reason", "reason", lambda row: as_it_is(reason(row)), {"reason": reason}, words=True),
)


def choose(text: str | None) -> tuple[Column, ...] | None:
    """The columns that `--columns` names by key, in its order; None is the default's.

    `all` and `default` stand for theirs; a field name of CSV is as good as a key. Raises `UsageError`.
    """
    if text is None:
        return None
    named = {field: column for column in COLUMNS for field in column.raw}
    named |= {column.key: column for column in COLUMNS}
    chosen: dict[str, Column] = {}
    for word in (word.strip() for word in text.split(",")):
        if word in ("all", "default"):
            found = [column for column in COLUMNS if word == "all" or column.shown != "asked"]
        elif word in named:
            found = [named[word]]
        else:
            known = ["all", "default", *(column.key for column in COLUMNS)]
            raise UnknownName("column", word, known, where=" of --columns")
        chosen |= {column.key: column for column in found if column.key not in chosen}
    return tuple(chosen.values())


def shown(chosen: Sequence[Column] | None, rows: Sequence[Standing]) -> list[Column]:
    """The columns of a table: the chosen ones, or those of the default that have something in them."""
    if chosen is not None:
        return list(chosen)
    return [
        column
        for column in COLUMNS
        if column.shown == "always"
        or (column.shown == "filled" and any(column.text(row) != ABSENT for row in rows))
    ]
