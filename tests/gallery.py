"""The rogues' gallery: every bad model is caught by the check that names it, no honest one is accused.

    python tests/gallery.py --into FOLDER             go on where FOLDER/gallery.jsonl ends
    python tests/gallery.py --into FOLDER --only law  one part: rogues, honest or law
    python tests/gallery.py --into FOLDER --table     print what is there as docs/audit-gallery.md

Hours for everything: statistical and timing checks are made with 50 seeds of every honest model, exact
ones with 3. `--seeds` and `--model` make it shorter. Interrupt it at any time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from exhibits import HONEST, ROGUES, Rogue

import harness
from harness import audit, plan, registry, selection, split
from harness.checks_law import LEVEL
from harness.cli.run import exit_code
from harness.corpus import Alphabet
from harness.engine import Engine
from harness.goodness import Goodness, goodness
from harness.subject import Finding, Subject, subject
from harness_datasets.markov import MarkovSource, alphabet

TIMED = ("sampler obeys the law", "no test in fit", "cold and warm agree", "nothing off the clock")
EXACT_SEEDS, SEEDS, LAW_RUNS = 3, 50, 200
LAW = {"order": 2, "vocab": 27}  # of the sources, a seed each
DRAWN, LIMIT, HOT = 20_000, 60, 1.05
TIMEOUT = 300.0  # seconds a check

Line = dict[str, Any]


# ---- one check of one model


def opened(model: str, plugin: Path | None, seed: int, processes: Engine, data: str = "names") -> Subject:
    """A model as `harness audit` opens it, on a dataset under its default split."""
    files = [plugin] if plugin else []
    found = registry.discover(files, guard_files=False)
    source = plan.open_data(found, data)
    choice = selection.choose(found, [model])[0]
    method = split.parse(source.default_split)
    plugins = tuple(str(file) for file in files)
    return subject(source, method, choice, processes, plugins=plugins, seed=seed)


def examined(rogue: Rogue, seed: int, processes: Engine, data: str = "names") -> tuple[Finding, int]:
    """What the check that should catch a rogue finds, and the exit code of `harness audit` or `run`."""
    if rogue.caught_by == "run":
        return ran(rogue)
    with opened(rogue.model, rogue.plugin, seed, processes, data) as made:
        found = audit.examine(made, rogue.caught_by, TIMEOUT)
    return found, 5 if found.outcome == "fail" else 0


def ran(rogue: Rogue) -> tuple[Finding, int]:
    """A run of one cell: what its row says, and what it leaves behind. An `ok` must have cost nobody."""
    limit = 2.0 if "hangs" in rogue.model else 60.0
    with tempfile.TemporaryDirectory() as folder:
        mark = Path(folder) / "written-at-exit"
        os.environ["ROGUE_FILE"] = os.environ["ROGUE_MARK"] = str(mark)
        record = harness.run(
            rogue.model,
            plugin=[rogue.plugin],
            dataset="markov:documents=300",
            results=Path(folder) / "results",
            timeout=limit,
            memory=2 * 2**30,
        ).records[0]
        left = mark.exists() or any(str(mark) in line for line in command_lines())
    said = f"{record.status}: {record.reason}"
    if record.status == "ok":
        said = "ok: something outlives it" if left else rogue.said
    return Finding("run", "fail" if rogue.said in said else "pass", said), exit_code([record])


def command_lines() -> Iterator[str]:
    """Of every process that is alive, where the system shows them."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield file.read_bytes().decode(errors="replace")


def law(temperature: float, run: int, documents: int = DRAWN) -> Goodness:
    """Documents of a `markov` source, drawn at a temperature, against its true law."""
    config = {**LAW, "seed": run}
    source = MarkovSource(LAW["vocab"], config, np.random.default_rng(0))
    letters = Alphabet(alphabet(config))
    rng = np.random.default_rng([run, round(100 * temperature)])
    drawn = source.sample(documents, LIMIT, rng, temperature=temperature)
    texts = [letters.decode(document) for document in drawn]
    return goodness(texts, source, letters, LIMIT, LAW["order"], rng)


# ---- all of them, line by line


class Log:
    """JSON lines that a run goes on from; a torn last line is taken off."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "gallery.jsonl"
        whole = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        kept = whole[: whole.rfind("\n") + 1]
        if kept != whole:
            self.path.write_text(kept, encoding="utf-8")
        self.lines: list[Line] = [json.loads(line) for line in kept.splitlines()]
        self.done = {self.key(line) for line in self.lines}

    @staticmethod
    def key(line: Line) -> tuple[Any, ...]:
        """What a line is about."""
        return line["part"], line["model"], line["check"], line["seed"]

    def wants(self, **about: Any) -> bool:
        """Whether there is no such line yet."""
        return self.key(about) not in self.done

    def write(self, line: Line) -> None:
        """Add a line, and say so."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self.lines.append(line)
        self.done.add(self.key(line))
        sys.stderr.write("  ".join(map(str, line.values())) + "\n")


def hang_rogues(log: Log, chosen: str | None, processes: Engine) -> None:
    """Each rogue before the check that names it."""
    for rogue in ROGUES:
        for seed in range(EXACT_SEEDS if rogue.caught_by != "run" else 1):
            about = {"part": "rogues", "model": rogue.model, "check": rogue.caught_by, "seed": seed}
            if chosen in (None, rogue.model) and log.wants(**about):
                began = time.perf_counter()
                found, code = examined(rogue, seed, processes)
                caught = found.outcome == "fail" and rogue.said in found.text and code == rogue.exit_code
                seconds = round(time.perf_counter() - began, 2)
                log.write({**about, "caught": caught, "exit": code, "text": found.text, "seconds": seconds})


def hang_honest(log: Log, chosen: str | None, seeds: int, processes: Engine) -> None:
    """Each honest model before every check: one subject a seed, as in an audit."""
    for honest in HONEST:
        for seed in range(seeds):
            names = [name for name in audit.CHECKS if seed < EXACT_SEEDS or name in TIMED]
            about = [{"part": "honest", "model": honest.model, "check": n, "seed": seed} for n in names]
            missing = [line for line in about if log.wants(**line)]
            if chosen not in (None, honest.model) or not missing:
                continue
            with opened(honest.model, honest.plugin, seed, processes) as made:
                for line in missing:
                    began = time.perf_counter()
                    found = audit.examine(made, line["check"], TIMEOUT)
                    seconds = round(time.perf_counter() - began, 2)
                    log.write({**line, "outcome": found.outcome, "text": found.text, "seconds": seconds})


def hang_laws(log: Log, runs: int) -> None:
    """True samplers and those at temperature 1.05, a source each."""
    for run in range(runs):
        for model, temperature in (("true", 1.0), ("hot", HOT)):
            about = {"part": "law", "model": model, "check": "sampler obeys the law", "seed": run}
            if log.wants(**about):
                found = law(temperature, run)
                log.write({**about, "rejected": found.p <= LEVEL, "text": str(found)})


# ---- the table


def described(plugin: Path | None, model: str) -> str:
    """The first line of a model's docstring, which says what is odd about it."""
    if plugin is None:
        return "built in"
    found = registry.discover([plugin], guard_files=False)
    kind = list(found.model(model).backends.values())[-1]  # of two backends the second is the odd one
    return (kind.__doc__ or model).strip().splitlines()[0]


def table(log: Log) -> str:
    """The page docs/audit-gallery.md."""
    rogues, honest, laws = (
        [line for line in log.lines if line["part"] == part] for part in ("rogues", "honest", "law")
    )
    return "\n".join([HEAD, *rogue_rows(rogues), HONEST_HEAD, *honest_rows(honest), *law_lines(laws), ""])


def rogue_rows(lines: list[Line]) -> Iterator[str]:
    """A row a rogue, in the order of the list."""
    by_model = defaultdict(list)
    for line in lines:
        by_model[line["model"], line["check"]].append(line)
    for rogue in ROGUES:
        own = by_model[rogue.model, rogue.caught_by]
        if own:
            caught = f"{sum(line['caught'] for line in own)} of {len(own)}"
            cells = [
                f"`{rogue.model}`", described(rogue.plugin, rogue.model), rogue.caught_by, caught,
                str(own[0]["exit"]), own[0]["text"],
            ]  # fmt: skip
            yield row(cells)


def honest_rows(lines: list[Line]) -> Iterator[str]:
    """A row an honest model: how many checks passed, did not apply, and accused it."""
    for honest in HONEST:
        own = [line for line in lines if line["model"] == honest.model]
        if own:
            seeds = len({line["seed"] for line in own})
            outcomes = [line["outcome"] for line in own]
            counts = [str(outcomes.count(outcome)) for outcome in ("pass", "n/a", "fail")]
            name = honest.model.partition(":")[0]
            yield row([f"`{honest.model}`", described(honest.plugin, name), str(seeds), *counts])


def law_lines(lines: list[Line]) -> Iterator[str]:
    """How many samplers were rejected."""
    for model, what in (("true", "the true sampler"), ("hot", f"a sampler at temperature {HOT}")):
        own = [line["rejected"] for line in lines if line["model"] == model]
        if own:
            yield f"\nOf {len(own)} `markov` sources {what} was rejected on {sum(own)}."


def row(cells: list[str]) -> str:
    """A row of Markdown."""
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


HEAD = """# The rogues' gallery

How the checks are proved: `python tests/gallery.py --into FOLDER`, then `--table`, which wrote this page.
Every rogue breaks its promises in one or two ways, and the check that names it must catch it with the exit
code of `harness audit` or `harness run` that stands here. `run` catches by a row's status; where the status
is `ok`, nothing of what the model did was of any use to it. The plugin files are in `tests/rogues/`.

| rogue | what it does | caught by | seeds | exit code | what is said |
|---|---|---|---|---|---|"""

HONEST_HEAD = """
Nobody may be accused of these. Counts are of single checks: with each seed those that rest on chance or time,
with the first three seeds the exact ones too.

| honest model | what it is | seeds | passed | not applicable | accused |
|---|---|---|---|---|---|"""


def main() -> int:
    """Exit code 1 where a rogue was missed, an honest model accused, or the law of a sampler mistaken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--into", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--only", choices=("rogues", "honest", "law"))
    parser.add_argument("--model", help="one exhibit")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="of honest models (50)")
    parser.add_argument("--runs", type=int, default=LAW_RUNS, help="of known laws (200)")
    parser.add_argument("--table", action="store_true", help="print what is there, and do nothing else")
    asked = parser.parse_args()
    log = Log(asked.into)
    if not asked.table:
        home = asked.into / "home"
        home.mkdir(exist_ok=True)
        os.environ["HOME"] = str(home.resolve())  # some rogues write there
        with Engine(1) as processes:
            if asked.only in (None, "rogues"):
                hang_rogues(log, asked.model, processes)
            if asked.only in (None, "law") and asked.model is None:
                hang_laws(log, asked.runs)
            if asked.only in (None, "honest"):
                hang_honest(log, asked.model, asked.seeds, processes)
    sys.stdout.write(table(log))
    return int(any(wrong(line) for line in log.lines))


def wrong(line: Line) -> bool:
    """Whether a line is not as it should be."""
    if line["part"] == "rogues":
        return not line["caught"]
    if line["part"] == "honest":
        return bool(line["outcome"] == "fail")
    return bool(line["rejected"] != (line["model"] == "hot"))


if __name__ == "__main__":
    sys.exit(main())
