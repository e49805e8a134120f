"""What hangs in the gallery: every rogue with the check that names it, every honest model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "rogues"


@dataclass(frozen=True)
class Rogue:
    """A bad model, and who catches it: a check of `harness audit`, or `run` by a status."""

    file: str
    model: str
    caught_by: str
    said: str  # part of what is said of it
    exit_code: int = 5

    @property
    def plugin(self) -> Path:
        """The plugin file that offers it."""
        return FOLDER / f"{self.file}.py"


@dataclass(frozen=True)
class Honest:
    """A model that nobody may accuse; `small`: how the tests choose it, where that is quicker."""

    model: str
    file: str | None = None
    small: str = ""

    @property
    def plugin(self) -> Path | None:
        """The plugin file that offers it; None for the built-in ones."""
        return FOLDER / f"{self.file}.py" if self.file else None


ROGUES = (
    Rogue("rows", "sums-to-277", "normalised", "above 0"),
    Rogue("rows", "almost-certain", "normalised", "sum to 27, not 1"),
    Rogue("rows", "rare-nan", "normalised", "NaN"),
    Rogue("rows", "shifted", "normalised", "sum to 1.01005, not 1"),
    Rogue("rows", "wrong-shape", "normalised", "returned shape"),
    Rogue("rows", "wrong-type", "normalised", "float16"),
    Rogue("rows", "wrong-vocabulary", "normalised", "returned shape"),
    Rogue("rows", "peeks", "causal", ""),
    Rogue("rows", "reads-the-end", "causal", ""),
    Rogue("rows", "fake-fast-path", "causal", "next_log_probs"),
    Rogue("rows", "looks-further", "context", ""),
    Rogue("rows", "batch-statistics", "batch-independent", ""),
    Rogue("rows", "pads-differently", "batch-independent", "alone"),
    Rogue("rows", "counts-calls", "stateless", "the same call again"),
    Rogue("rows", "writes-into-inputs", "stateless", "wrote into its inputs"),
    Rogue("rows", "learns-while-scored", "stateless", ""),
    Rogue("fits", "unseeded", "deterministic", "differs in"),
    Rogue("fits", "hash-seeded", "deterministic", "differs in"),
    Rogue("fits", "ignores-seed", "seed honoured", "give the same model"),
    Rogue("fits", "secretly-stochastic", "seed honoured", "stochastic=False, but"),
    Rogue("laws", "hot", "sampler obeys the law", "quarters"),
    Rogue("laws", "copies-train", "sampler obeys the law", "quarters"),
    Rogue("laws", "endless", "sampler obeys the law", "documents, not"),
    Rogue("laws", "every-process-its-own", "code length is real", "does not come back"),
    Rogue("fits", "forgets", "save, load", "loaded"),
    Rogue("processes", "reads-data", "no test in fit", "where canaries stand"),
    Rogue("processes", "reads-by-another", "no test in fit", "canaries against decoys"),
    Rogue("fits", "never-ends", "alphabet", "no document can end"),
    Rogue("processes", "keeps-counts", "cold and warm agree", "after an earlier run"),
    Rogue("processes", "remembers-answers", "cold and warm agree", "a text scored before"),
    Rogue("processes", "works-on", "nothing off the clock", "thread(s): worker"),
    Rogue("processes", "works-by-alarm", "nothing off the clock", "ms of CPU time"),
    Rogue("processes", "leaves-processes", "nothing off the clock", "process(es): python"),
    Rogue("processes", "slow-clock", "nothing off the clock", "time.perf_counter() says"),
    Rogue("processes", "trains-in-warm-up", "nothing off the clock", "without warm-up"),
    Rogue("processes", "trains-in-checkpoint", "nothing off the clock", "changed during checkpoint 1"),
    Rogue("fits", "float32-as-float64", "backends agree", "fast"),
    Rogue("fits", "another-backend", "backends agree", "fast"),
    Rogue("cells", "raises", "run", "failed: fit: KeyError", 4),
    Rogue("cells", "exits", "run", "failed: fit: its process exited with status 7", 4),
    Rogue("cells", "segfaults", "run", "failed: fit: its process was ended by SIGSEGV", 4),
    Rogue("cells", "hangs", "run", "timeout: fit: over the limit of 2 s", 4),
    Rogue("cells", "hangshard", "run", "timeout: fit: over the limit of 2 s", 4),
    Rogue("cells", "allocates", "run", "out-of-memory: fit", 4),
    Rogue("cells", "garbles", "run", "failed: fit: expected a frame", 4),
    Rogue("cells", "closes", "run", "failed: fit: closed its connection", 4),
    Rogue("cells", "dieslater", "run", "out-of-memory: evaluate", 4),
    Rogue("cells", "wrongshape", "run", "invalid: next_log_probs returned shape", 5),
    Rogue("cells", "wrongtype", "run", "invalid: next_log_probs returned an array of float16", 5),
    Rogue("cells", "notanarray", "run", "invalid: log_probs returned list", 5),
    Rogue("cells", "prints", "run", "ok: what it prints is kept apart", 0),
    Rogue("cells", "forks", "run", "ok: what it leaves is ended with it", 0),
    Rogue("processes", "works-at-exit", "run", "ok: what it leaves for its exit never runs", 0),
)

HONEST = (
    Honest("uniform"),
    Honest("count-bigram"),
    Honest("count-bigram:k=0"),
    Honest("nn-bigram", small="nn-bigram:steps=20"),
    Honest("nn-bigram@numba", small="nn-bigram@numba:steps=20"),
    Honest("ngram"),
    Honest("ngram:preset=lines"),
    Honest("ngram@numba"),
    Honest("mlp@numpy", small="mlp@numpy:hidden=8,steps=20"),
    Honest("mlp@torch", small="mlp@torch:hidden=8,steps=20"),
    Honest("mlp@numba", small="mlp@numba:hidden=8,steps=20"),
    Honest("mlp@scalar:hidden=4", small="mlp@scalar:hidden=4,steps=3"),
    Honest("bow", small="bow:hidden=8,embedding=8,steps=5"),
    Honest("rnn", small="rnn:hidden=8,steps=5"),
    Honest("gru", small="gru:hidden=8,steps=5"),
    Honest("lstm", small="lstm:hidden=8,steps=5"),
    Honest("transformer", small="transformer:layers=1,embedding=8,heads=2,steps=5"),
    Honest("transformer@numba", small="transformer@numba:layers=1,embedding=8,heads=2,steps=5"),
    Honest("microgpt", small="microgpt:embedding=8,heads=2,steps=5"),
    Honest("microgpt@numba", small="microgpt@numba:embedding=8,heads=2,steps=5"),
    Honest("wavenet", small="wavenet:hidden=8,embedding=4,steps=5"),
    Honest("mixture", small="mixture:of=ngram+count-bigram"),
    Honest("slow", "honest"),
    Honest("not-repeatable", "honest"),
    Honest("seeded", "honest"),
    Honest("early-stopping", "honest"),
    Honest("two-threads", "honest"),
    Honest("caches-tables", "honest"),
    Honest("trigram", "honest"),
    Honest("lengths", "honest"),
    Honest("certain", "honest"),
)
