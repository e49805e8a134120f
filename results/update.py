"""Our own history: the built-in models are run, the runs taken up into git, README's tables made of them.

python results/update.py             the runs (minutes), `git add`, the tables
python results/update.py --tables    the tables again, from the runs that README names
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness import report, store
from harness.columns import choose

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
RUNS = {"names": ["--dataset", "names"], "lecture": ["--dataset", "makemore-names", "--split", "lecture"]}
COMMITTED = ("*.scores.npz", "*.samples.json")  # never *.params.npz; scores are what `harness gate` pairs
LADDER = "model,params,dev,test,unseen,behind,train-s"


def table(path: Path) -> str:
    """What `harness run` printed, nothing else on record."""
    return shown(path, "table", None)


def ladder(path: Path) -> str:
    """The lecture's split in markdown: the sheet alone."""
    whole = shown(path, "markdown", LADDER)
    return "\n".join(line for line in whole.splitlines() if line.startswith("|"))


def shown(path: Path, form: str, columns: str | None) -> str:
    """`harness show` of a run, its own rows the only looks at the test part."""
    run = store.read(path)
    looks = store.looks([run], run.records[0].data.split_fingerprint)
    view = report.View(form, choose(columns), False, report.WIDTH)
    return report.render(run.header, run.records, run.scores, run.samples, looks, view).strip()


def origin(path: Path) -> str:
    """Where a table comes from, for those who doubt its seconds."""
    run = store.read(path)
    host: dict[str, Any] = run.header.environment
    busy = (host["load"] or 0) >= host["cores"]
    doubt = " Other jobs held the cores, so its seconds are too long." if busy else ""
    return (
        f"[`{path.stem}`](results/{path.name}): harness {run.header.version} at {host['commit']}, "
        f"{host['threads']} thread on {host['cpu']}, {host['cores']} cores, load {host['load']} at its start."
        f"{doubt}"
    )


def named(text: str, name: str) -> Path:
    """The run that README names for one of `RUNS`."""
    found = re.search(rf"<!-- {name}: results/([\w-]+\.jsonl) -->", text)
    assert found, f"README names no run for {name}"
    return RESULTS / found[1]


def rewritten(text: str, runs: dict[str, Path]) -> str:
    """README with what stands between `<!-- NAME: results/….jsonl -->` and `<!-- end NAME -->` made anew."""
    made = {
        "names": lambda path: (
            f"<!-- table: harness run --models all -->\n```text\n{table(path)}\n```\n\nFrom {origin(path)}"
        ),
        "lecture": lambda path: f"{ladder(path)}\n\nFrom {origin(path)}",
    }
    for name, path in runs.items():
        block = f"<!-- {name}: results/{path.name} -->\n{made[name](path)}\n<!-- end {name} -->"
        marks = rf"<!-- {name}: results/[^\n]* -->\n.*?<!-- end {name} -->"
        places = re.findall(marks, text, flags=re.DOTALL)
        assert len(places) == 1, f"README has {len(places)} places for {name}"
        text = text.replace(places[0], block)
    return text


def run(words: list[str]) -> Path:
    """One thread, whatever the machine has, so that seconds mean the same."""
    command = [sys.executable, "-m", "harness", "run", "--models", "all", "--threads", "1", *words]
    subprocess.run([*command, "--results", str(RESULTS)], cwd=ROOT, check=True)
    return store.find(RESULTS, "latest")


def take_up(path: Path) -> None:
    """Into git goes what may be committed: the run file, scores, samples."""
    sides = [side for pattern in COMMITTED for side in sorted(store.side_folder(path).glob(pattern))]
    subprocess.run(["git", "add", "--force", str(path), *map(str, sides)], cwd=ROOT, check=True)


if __name__ == "__main__":
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    if sys.argv[1:] == ["--tables"]:
        runs = {name: named(text, name) for name in RUNS}
    else:  # every run before `git add`: a record says whether the tree was as committed
        runs = {name: run(words) for name, words in RUNS.items()}
        for path in runs.values():
            take_up(path)
    readme.write_text(rewritten(text, runs), encoding="utf-8")
