"""The two sides of `harness gate`: stored runs, or cells that are run for it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli import options
from harness.errors import StoreError, UsageError

if TYPE_CHECKING:
    from harness.change import Pairs, Side
    from harness.environments import Environment
    from harness.gate import Thresholds
    from harness.record import Header, Record
    from harness.store import Run


class NoBaselineError(Exception):
    """There is nothing to compare with; its text says why."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What the options ask for."""

    folder: Path  # of runs
    plugins: Sequence[Path]
    models: Sequence[str]
    dataset: str | None
    split: str | None
    scratch: Path  # for what is not kept

    # ---- base and head

    def baseline(self, what: str | None, env: Path | None, seeds: int) -> Side:
        """The cells of the baseline; `NoBaselineError` where there is none that is ok."""
        if what is not None:
            try:
                run = self.find(what)
            except UsageError as error:
                raise NoBaselineError(f"no baseline: {error}") from None
            self.know_models(run)
        elif env is not None:
            run = self.run_in(env, seeds)
        else:
            raise NoBaselineError("no baseline: --baseline names a run file, a run or a git reference")
        records = [record for record in run.records if self.covers(record)]
        if not any(record.status == "ok" for record in records):
            held = ", ".join(dict.fromkeys(f"{r.model}@{r.backend} {r.status}" for r in run.records))
            raise NoBaselineError(
                f"no baseline: run {run.header.run_id} holds no such cell that is ok ({held or 'none'})"
            )
        return side(run, records)

    def head(self, what: str | None, env: Path | None, base: Side) -> Side:
        """The cells of head: a stored run, or the baseline's cells run now, in `env` where it is given."""
        if what is not None:
            run = self.find(what)
            return side(run, [record for record in run.records if self.covers(record)])
        runs = [
            run
            for same in by_data(base.records)
            for run in (self.run_here(same) if env is None else self.run_there(env, same))
        ]
        return together(runs)

    def find(self, what: str) -> Run:
        """A file, a run by its id or its beginning, else the newest run of a git reference."""
        from harness import committed, store

        passed_over: list[str] = []
        named = what == "latest" or any(path.stem.startswith(what) for path in store.run_files(self.folder))
        if Path(what).is_file() or named:
            run = store.read(store.find(self.folder, what, passed_over))
        else:
            run = committed.read(what, self.folder, self.scratch, self.wants, passed_over)
        if store.IMPORTED in run.header.run_id:
            raise UsageError(f"run {run.header.run_id} is imported: it holds times alone, and no scores")
        options.warn([*passed_over, *run.warnings])
        if run.damage:
            raise StoreError(f"{run.path} is damaged, and what was lost cannot be compared; restore the file")
        if any(finding.state in ("older", "newer") for finding in run.findings):
            raise StoreError(f"{run.path} holds lines of another version of harness: compare with that")
        if not run.closed:
            options.warn([f"{run.path} is open: the run was interrupted or is still going on"])
        return run

    def wants(self, header: Header) -> bool:
        """Whether a run of a reference is one on the data that is asked for."""
        return self.dataset in (None, header.dataset) and self.on_split(header.split)

    def covers(self, record: Record) -> bool:
        """Whether a cell is one of those that are asked for; a test part is what counts, so no searches."""
        if self.dataset not in (None, record.dataset) or not self.on_split(record.split):
            return False
        from harness import selection

        wanted = selection.items(self.models)
        return not wanted or any(item in meant_by(record) for item in wanted)

    def know_models(self, run: Run) -> None:
        """A name that the baseline does not hold is one of a model that there is; `UsageError` otherwise."""
        from harness import registry, selection

        names = {name for record in run.records for name in meant_by(record)}
        for item in selection.items(self.models):
            if item not in names:
                selection.choose(registry.discover(self.plugins), [item])
                options.warn([f"{item}: run {run.header.run_id} holds no such cell"])

    def on_split(self, method: str) -> bool:
        """Whether a run or a cell is of the split that is asked for, written short or in full."""
        if self.split is None:
            return True
        from harness import split

        return method in (self.split, str(split.parse(self.split)))

    # ---- running cells

    def run_here(self, same: Sequence[Record]) -> list[Run]:
        """Cells on the same data, run by this harness into the folder of runs."""
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is loaded: see environment
        from harness import environment, notebook, plan, registry, runner, selection
        from harness.cli.run import watch

        first, known = same[0], registry.discover(self.plugins)
        options.warn(known.problems)
        names = []
        for name in names_of(same):
            try:
                selection.one(known, name)
            except UsageError as error:  # it is missing in head, and the gate says so
                options.warn([f"{name}: {error}; a plugin's file is named with --plugin"])
            else:
                names.append(name)
        if not names:
            return []
        is_file = first.dataset.startswith("file:")
        threads = first.environment.get("threads")
        made = plan.plan(
            names,
            plugins=self.plugins,
            data=first.dataset,
            kind=("text" if first.data.window else "lines") if is_file else None,
            method=first.split,
            seeds=1 + max(record.repeat for record in same),
            budget=None if first.budget == "default" else first.budget,
            threads=min(int(threads), environment.cores()) if threads else None,
        )
        with watch(len(made.cells)) as watcher:
            return [runner.execute(made, notebook.new_path(self.folder), watcher)]

    def run_there(self, folder: Path, same: Sequence[Record]) -> list[Run]:
        """The same in an environment, one process; what it does not know is missing in head."""
        where, names = self.environment(folder, same), names_of(same)
        seeds = 1 + max(record.repeat for record in same)
        options.say(f"head: {', '.join(names)}")
        run = where.run(names, seeds, self.scratch)
        if not isinstance(run, str):
            return [self.keep(run)]
        if len(names) == 1:
            options.warn([run])
            return []
        return [  # one of them broke it: each alone, so that the others are compared all the same
            run
            for name in names
            for run in self.run_there(folder, [r for r in same if names_of([r]) == [name]])
        ]

    def run_in(self, folder: Path, seeds: int) -> Run:
        """The baseline made in its own environment."""
        from harness import environments

        data = [("--dataset", self.dataset), ("--split", self.split)]
        words = [word for flag, value in data if value for word in (flag, value)]
        options.say("the baseline is run in its environment")
        where = environments.opened(folder, [*words, *self.plugin_words()])
        run = where.run(self.models or ("all",), seeds, self.scratch)
        if isinstance(run, str):
            raise NoBaselineError(f"no baseline: {run}")
        return self.keep(run)

    def keep(self, run: Run) -> Run:
        """An environment's run, copied into the folder of runs: what the heading names can be looked up."""
        from harness import store

        target = self.folder / run.path.name
        store.copy(run.path, target)
        return store.read(target)

    def environment(self, folder: Path, same: Sequence[Record]) -> Environment:
        """An environment that runs cells on the data of these records."""
        from harness import environments

        first = same[0]
        words = ["--dataset", first.dataset, "--split", first.split, *self.plugin_words()]
        if first.budget != "default":
            words += ["--budget", first.budget]
        if first.dataset.startswith("file:"):
            words += ["--as", "text" if first.data.window else "lines"]
        if threads := first.environment.get("threads"):
            words += ["--threads", str(threads)]
        return environments.opened(folder, words)

    def plugin_words(self) -> list[str]:
        """`--plugin FILE`, as often as it was given."""
        return [word for path in self.plugins for word in ("--plugin", str(path.resolve()))]

    # ---- speed and memory

    def pairs(
        self,
        base_env: Path | None,
        head_env: Path | None,
        base: Side,
        head: Side,
        thresholds: Thresholds,
    ) -> dict[str, Pairs]:
        """The interleaved pairs of every cell that is ok on both sides; none without environments."""
        if base_env is None or head_env is None:
            return {}
        from harness import change, environments, gate

        good = {change.name_of(record) for record in head.records if record.status == "ok"}
        found: dict[str, Pairs] = {}
        for same in by_data(base.records):
            names = [name for name in names_of(same) if name in good]
            if names:
                found |= environments.paired(
                    self.environment(base_env, same),
                    self.environment(head_env, same),
                    names,
                    list(gate.LOOKS),
                    lambda pairs: change.open_still(pairs, thresholds),
                    watch=lambda name, pair: options.say(f"{name}: pair {pair} of {max(gate.LOOKS)}"),
                )
        return found


def meant_by(record: Record) -> tuple[str, ...]:
    """What `--models` may say to mean a cell: without options every configuration of a model."""
    from harness import change

    backend, full = f"@{record.backend}", change.name_of(record)
    return "all", "*", "*@*", record.model, record.model + backend, full, full.replace(backend, "", 1)


def names_of(records: Sequence[Record]) -> list[str]:
    """The cells that are ok, each once, as `--models` selects them."""
    from harness import change

    return list(dict.fromkeys(change.name_of(record) for record in records if record.status == "ok"))


def by_data(records: Sequence[Record]) -> list[list[Record]]:
    """Records that are ok, those on the same data, split and budget together."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        if record.status == "ok":
            groups.setdefault((record.dataset, record.split, record.budget), []).append(record)
    return list(groups.values())


def side(run: Run, records: Sequence[Record]) -> Side:
    """Some records of a run."""
    from harness.change import Side

    return Side(f"run {run.header.run_id}", run.header.contract, records, run.scores, run.closed)


def together(runs: Sequence[Run]) -> Side:
    """The records of several runs."""
    from harness.change import Side
    from harness.record import CONTRACT

    by_id = {run.header.run_id: run for run in runs}

    def scores(record: Record) -> dict[str, Any] | None:
        return by_id[record.run_id].scores(record)

    ids = sorted(by_id)  # by time
    source = f"run {ids[0]}" if len(ids) == 1 else f"{len(ids)} runs" + f", {ids[0]} to {ids[-1]}" * bool(ids)
    contract = runs[0].header.contract if runs else CONTRACT
    return Side(source, contract, [record for run in runs for record in run.records], scores)
