"""The record of one cell, versioned: what stands in a run file, field by field.

Absent is null with a reason (in `absent`, or `reason` for the whole cell), never 0.0 and never NaN.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

SCHEMA = "harness.record/1"
CONTRACT = "harness.contract/1"

Status = Literal["ok", "invalid", "failed", "timeout", "out-of-memory", "diverged", "skipped"]


class Metrics(msgspec.Struct, kw_only=True):
    """Nats per character; `*_se` standard errors, `*_half` half 95 % intervals."""

    train_nll: float | None = None
    dev_nll: float | None = None
    dev_nll_se: float | None = None
    dev_nll_half: float | None = None
    test_nll: float | None = None
    test_nll_se: float | None = None
    test_nll_half: float | None = None
    test_bits: float | None = None  # bits per character
    test_perplexity: float | None = None  # per character
    test_nll_document: float | None = None  # nats per document
    dev_nll_seen: float | None = None  # documents that stand in train too
    dev_nll_unseen: float | None = None
    test_nll_seen: float | None = None
    test_nll_unseen: float | None = None
    excess: float | None = None  # test NLL − that of the true source, paired (synthetic data)
    excess_half: float | None = None
    zero_probability: dict[str, int] = {}  # targets with p = 0, by part


class Timings(msgspec.Struct, kw_only=True):
    """Seconds."""

    start_s: float | None = None
    warmup_s: float | None = None
    train_s: float | None = None
    evaluate_s: float | None = None
    sample_s: float | None = None
    checkpoint_s: float | None = None
    benchmark_s: float | None = (
        None  # of another tool's benchmark (`harness import`): the median of its rounds
    )


class Throughput(msgspec.Struct, kw_only=True):
    """Characters per second; the first rests on the plugin's word where `claimed`."""

    train_chars_per_s: float | None = None
    eval_chars_per_s: float | None = None
    sample_chars_per_s: float | None = None
    claimed: bool = False


class DocumentStatistics(msgspec.Struct, kw_only=True):
    """Of some documents, drawn or real: shares of them (0 to 1), and distances to other real ones."""

    documents: int
    novel: float | None = None  # not in train
    in_train: float | None = None  # of running text: occurs in the text of that part
    in_dev: float | None = None
    in_test: float | None = None
    duplicates: float | None = None  # equal to an earlier one
    truncated: float | None = None  # cut at `max_length`
    mean_length: float | None = None  # characters, the end not counted
    length_distance: float | None = None  # 1-Wasserstein, in characters
    unigram_distance: float | None = None  # Jensen–Shannon: root of the divergence in bits, 0 to 1
    bigram_distance: float | None = None
    trigram_distance: float | None = None


class SampleStatistics(msgspec.Struct, kw_only=True):
    """Samples beside as many real held-out documents: what a perfect model would come close to."""

    max_length: int  # characters at which a document is cut
    drawn: DocumentStatistics
    real: DocumentStatistics | None = None
    real_from: str | None = None  # "dev", or "one half of test" where there is no dev
    real_seed: int | None = None  # with which they were chosen
    compared_with: str | None = None  # what both are measured to: "test", "the other half of test"
    absent: dict[str, str] = {}  # field -> why it is null


class Data(msgspec.Struct, kw_only=True):
    """What was read: sizes in documents and targets."""

    dataset_sha256: str
    split_fingerprint: str
    vocabulary: int
    alphabet: str | None = None  # its characters in order, the boundary left out
    documents: dict[str, int]
    targets: dict[str, int]
    overlap: dict[str, int]  # dev and test documents that stand in train
    units: int = 0  # units of uncertainty in test
    in_sample: bool = False
    dev_from_train: bool = False
    window: dict[str, int] = {}  # running text: inputs a window and stride
    entropy_rate: float | None = None  # of the true source, nats per target


class Plugin(msgspec.Struct, kw_only=True):
    """Who brought the model."""

    distribution: str
    version: str
    code_hash: str | None = None


class Audit(msgspec.Struct, kw_only=True):
    """What `harness audit` had found of the model's code when the cell was run."""

    date: str  # UTC, ISO 8601
    passed: int  # checks
    failed: list[str]  # names of checks
    not_applicable: int = 0
    elsewhere: str = ""  # the data of the audit, where they are not those of the run


class Target(msgspec.Struct, kw_only=True):
    """When a fit came to a dev NLL that was asked for (`--target`)."""

    nll: float  # nats per character
    seconds: float | None = None  # of training
    bound: bool = False  # known only of the whole fit: it took at most so long
    reason: str | None = None  # why there are no seconds


class Record(msgspec.Struct, kw_only=True):
    """One cell: model@backend × config × dataset × split × seed."""

    schema: str = SCHEMA
    run_id: str
    cell: int  # position in the run
    model: str
    backend: str
    options: dict[str, Any]  # what differs from the model's defaults
    config: dict[str, Any]  # complete
    dataset: str
    split: str
    repeat: int
    seed: int
    stochastic: bool | None = None  # declared by its spec; False: one seed stands for all
    budget: str
    status: Status
    reason: str | None = None
    rests_on: str = "scored live"  # what its NLL rests on: else a file of scores, a code length
    absent: dict[str, str] = {}  # metric -> why it is null
    marks: list[str] = []  # what a reader must know of this row
    metrics: Metrics = msgspec.field(default_factory=Metrics)
    timings: Timings = msgspec.field(default_factory=Timings)
    throughput: Throughput = msgspec.field(default_factory=Throughput)
    parameters: int | None = None
    peak_rss_bytes: int | None = None
    curve: list[tuple[float, float | None]] = []  # train seconds, dev NLL
    target: Target | None = None  # where one was set
    data: Data
    samples: str | None = None  # side file
    scores: str | None = None  # side file
    params: str | None = None  # side file
    stdout: str | None = None  # side file: what the cell printed
    stderr: str | None = None  # side file
    side_files: dict[str, str] = {}  # name -> SHA-256, hexadecimal; empty in older files
    sample_seed: int | None = None
    sample_statistics: SampleStatistics | None = None
    environment: dict[str, Any] = {}
    plugin: Plugin
    audit: Audit | None = None  # None: not audited

    @property
    def label(self) -> str:
        """Model and options as a table shows them: `mlp context=8`."""
        return label(self.model, self.options)

    @property
    def infinite(self) -> bool:
        """Whether a test target had p = 0."""
        return self.status == "ok" and self.metrics.zero_probability.get("test", 0) > 0

    @property
    def side_names(self) -> list[str]:
        """The side files that it names."""
        names = (self.samples, self.scores, self.params, self.stdout, self.stderr)
        return [name for name in names if name is not None]

    def _repr_html_(self) -> str:
        """The record in a notebook."""
        m = self.metrics
        rows: list[tuple[str, str]] = [("status", self.status)]
        if self.reason:
            rows.append(("reason", self.reason))
        for name, value, half in (
            ("dev NLL", m.dev_nll, m.dev_nll_half),
            ("test NLL", m.test_nll, m.test_nll_half),
        ):
            if value is not None:
                rows.append((name, f"{value:.4f}" + (f" ± {half:.4f}" if half else "")))
        if m.test_bits is not None:
            rows.append(("bits per character", f"{m.test_bits:.4f}"))
        if m.train_nll is not None:
            rows.append(("train NLL", f"{m.train_nll:.4f}"))
        for part, count in m.zero_probability.items():
            if count:
                rows.append((f"targets of {part} with p = 0", str(count)))
        rows += [("dataset", self.dataset), ("split", self.split)]
        rows += [(name, reason) for name, reason in self.absent.items()]
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>"
            for name, text in rows
        )
        return f"<table><caption>{html.escape(self.label)}</caption>{cells}</table>"


# gc=False: they hold no cycles, and a list of runs makes tens of thousands
class BriefMetrics(msgspec.Struct, kw_only=True, gc=False):
    """Of `Metrics` what a list of runs needs."""

    test_nll: float | None = None
    zero_probability: dict[str, int] = {}


class BriefData(msgspec.Struct, kw_only=True, gc=False):
    """Of `Data` what a list of runs needs."""

    split_fingerprint: str


class Brief(msgspec.Struct, kw_only=True, gc=False):
    """Of a `Record` what a list of runs needs; the rest of the line is passed over."""

    cell: int
    model: str
    options: dict[str, Any]
    status: Status
    metrics: BriefMetrics = msgspec.field(default_factory=BriefMetrics)
    data: BriefData

    @property
    def label(self) -> str:
        """As a record's."""
        return label(self.model, self.options)

    @property
    def infinite(self) -> bool:
        """As a record's."""
        return self.status == "ok" and self.metrics.zero_probability.get("test", 0) > 0


class Header(msgspec.Struct, kw_only=True):
    """The first line of a run file."""

    schema: str = SCHEMA
    contract: str = CONTRACT
    run_id: str
    created: str  # UTC, ISO 8601
    version: str  # of harness
    dataset: str
    split: str
    budget: str
    cells: list[str]  # the resolved selection, in order; of a search none
    search: str | None = None  # what a search varies: its cells follow from those before them
    identity: str = ""  # of the plan: the same command continues an open file with the same one
    environment: dict[str, Any] = {}


class End(msgspec.Struct, kw_only=True):
    """The last line of a run file: it is closed for good."""

    cells: int  # how many the run holds
    brief: list[Brief] | None = None  # of each, in their order; None in files of older versions


def briefly(records: Iterable[Record]) -> list[Brief]:
    """What a list of runs needs of each cell, in their order."""
    return [
        msgspec.convert(record, Brief, from_attributes=True)
        for record in sorted(records, key=lambda record: record.cell)
    ]


def label(model: str, options: Mapping[str, Any]) -> str:
    """`mlp context=8`."""
    shown = " ".join(
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in options.items()
    )
    return f"{model} {shown}".strip()


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a line of a run file, as docs/record.schema.json holds it."""
    kinds: dict[str, type[msgspec.Struct]] = {"header": Header, "cell": Record, "end": End}
    values, definitions = msgspec.json.schema_components(kinds.values(), ref_template="#/$defs/{name}")
    digest = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
    lines = [
        {"type": "object", "properties": {"checksum": digest, kind: value}, "required": ["checksum", kind]}
        for kind, value in zip(kinds, values, strict=True)
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": SCHEMA,
        "oneOf": lines,
        "$defs": definitions,
    }


def finite(value: float | None) -> float | None:
    """A metric as it is stored: infinities and NaN become null."""
    return value if value is not None and math.isfinite(value) else None
