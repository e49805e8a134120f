"""The command line: what is printed where, and the exit codes (CONTRACT, "Exit codes")."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import runs

from harness import notebook, registry, store, store_check
from harness.cli import VERBS, entry, main

LETTERS = "abcde"
NAMES = ["".join(letters) for letters in itertools.product(LETTERS, repeat=3)]  # 125, all distinct
V = len(LETTERS) + 1

PLUGIN = """
import sys, threading
import numpy as np
from harness import Diverged, Model, ModelSpec, hookimpl

class Fair(Model):
    def fit(self, train, dev, trial): ...
    def log_probs(self, inputs):
        return np.full((*inputs.shape, self.vocab_size), -np.log(self.vocab_size))

class Counts(Fair):
    def fit(self, train, dev, trial): trial.progress(np.int64(train.targets), np.int64(train.targets))

class Raises(Fair):
    def fit(self, train, dev, trial): raise RuntimeError("no luck")

class Exits(Fair):
    def fit(self, train, dev, trial): sys.exit("leaving")

class Greedy(Fair):
    def fit(self, train, dev, trial): raise MemoryError

class Diverges(Fair):
    def fit(self, train, dev, trial): raise Diverged("loss is inf")

class BadParams(Fair):
    def fit(self, train, dev, trial): self.params["w"] = np.array([1.0, np.nan])

class NanRows(Fair):
    def log_probs(self, inputs): return super().log_probs(inputs) * np.nan

class TooMuch(Fair):
    def log_probs(self, inputs): return super().log_probs(inputs) + 1e-3

class TooLittle(Fair):
    def log_probs(self, inputs): return super().log_probs(inputs) - 1e-3

class Elsewhere(Fair):
    @classmethod
    def unavailable(cls): return "needs another planet"

class Hangs(Fair):
    def fit(self, train, dev, trial): threading.Event().wait()

@hookimpl
def harness_models():
    classes = (Fair, Counts, Raises, Exits, Greedy, Diverges, BadParams, NanRows, TooMuch, TooLittle,
               Elsewhere, Hangs)
    return [ModelSpec(c.__name__.lower(), {"numpy": c}) for c in classes] + [
        ModelSpec("absent", {"numpy": Fair}, requires=("no_such_module_anywhere",)),
        ModelSpec("nowhere", {"numpy": "no_such_module_anywhere:Model"}),
    ]
"""


@pytest.fixture
def names() -> str:
    """`file:` and the path of 125 short names."""
    Path("few.txt").write_text("".join(f"{name}\n" for name in NAMES))
    return "file:few.txt"


@pytest.fixture
def plugin() -> str:
    """The path of a plugin file whose models break in every way."""
    Path("models.py").write_text(PLUGIN)
    return "models.py"


@pytest.fixture
def unguarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin file is loaded at once, not in a child first: test_registry has the guard."""
    monkeypatch.setattr(registry, "probe", lambda path: None)


def run(*arguments: str) -> int:
    """`harness run` with its cells in this process, which is quick."""
    return main(["run", "--in-process", *arguments])


def execute(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m harness` in a process of its own."""
    return subprocess.run([sys.executable, "-m", "harness", *arguments], capture_output=True, text=True)


def refuse(constant: str) -> None:
    """NaN and Infinity are no JSON."""
    raise AssertionError(f"{constant} in JSON")


def strict(text: str) -> Any:
    """JSON as the standard has it."""
    return json.loads(text, parse_constant=refuse)


def stored() -> list[Path]:
    """The run files in the default folder."""
    return sorted(Path("results").glob("*.jsonl"))


# ---- help, version, usage


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    """`harness --help` exits 0 and names the verbs with their line of help, and the exit codes."""
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for verb, text in VERBS.items():
        assert re.search(rf"^ +{verb} +{re.escape(text)}$", printed, re.MULTILINE)
    assert "130 interrupted" in " ".join(printed.split())


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    """`harness VERB -h` exits 0 and begins with its usage."""
    assert main([verb, "-h"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: harness {verb}")


@pytest.mark.parametrize("command", [[], ["data"]])
def test_without_a_verb_the_help_is_shown(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    """`harness` alone shows the same lines as `harness --help`, not squeezed into one."""
    assert main([*command, "--help"]) == 0
    helped = capsys.readouterr().out
    assert main(command) == 2
    shown = capsys.readouterr()
    assert helped.strip() in shown.out + shown.err


def test_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints what pip has installed."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"harness {importlib.metadata.version('nextchar-harness')}\n"


def test_python_m_harness_is_the_command() -> None:
    """`python -m harness` runs the command line and passes its exit code on."""
    helped = execute("--help")
    assert (helped.returncode, helped.stderr) == (0, "")
    assert helped.stdout.startswith("Usage: harness ")
    wrong = execute("rnu")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "harness: unknown command 'rnu'; did you mean 'run'?\n"


@pytest.mark.parametrize(
    ("arguments", "wrong", "near"),
    [
        (["rnu"], "command 'rnu'", "'run'"),
        (["data", "descrbe", "names"], "'descrbe'", "'describe'"),
        (["run", "--modles", "mlp"], "'--modles'", "'--models'"),
        (["run", "--models", "mpl"], "model 'mpl'", "'mlp'"),
        (["run", "--models", "mlp@toch"], "backend 'toch' of mlp", "'torch'"),
        (["run", "--models", "mlp:hiden=3"], "option 'hiden' of mlp", "'hidden'"),
        (["run", "--models", "mlp:preset=lectur"], "preset 'lectur' of mlp", "'lecture'"),
        (["run", "--models", "mlp:init=nromal"], "value 'nromal' of mlp:init", "'normal'"),
        (["run", "--models", "uniform", "--dataset", "nmes"], "dataset 'nmes'", "'names'"),
        (["run", "--models", "uniform", "--dataset", "markov:ordr=1"], "option 'ordr' of markov", "'order'"),
        (["run", "--models", "uniform", "--split", "lectre"], "split 'lectre'", "'lecture'"),
        (["run", "--models", "uniform", "--split", "grouped:sed=1"], "option 'sed' of split", "'seed'"),
        (["run", "--models", "uniform", "--split", "contiguous"], "split contiguous", "grouped"),
        (["run", "--models", "uniform", "--budget", "10"], "--budget '10'", "2000steps, 30s"),
        (["run", "--models", "uniform", "--device", "cud"], "'cud'", "'cuda'"),
        (["run", "--models", "uniform", "--seeds", "0"], "'--seeds': 0", "x<=1000"),
        (["run", "--models", "uniform", "--dataset", "file:absent.txt"], "file:absent.txt", "No such file"),
        (["run", "--models", "uniform", "--plugin", "absent.py"], "--plugin absent.py", "no file"),
        (["list", "modles"], "'modles'", "'models'"),
        (["data", "describe", "nmes"], "dataset 'nmes'", "'names'"),
        (["data", "describe", "names", "--as", "text"], "--as", "names"),
        (["show"], "no runs in results", "harness run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_is_one_line_that_names_the_way_out(
    capsys: pytest.CaptureFixture[str], arguments: list[str], wrong: str, near: str
) -> None:
    """Exit 2, nothing on stdout, one line on stderr with the wrong word and the nearest, nothing run."""
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"harness: [^\n]+\n", printed.err)
    assert wrong in printed.err
    assert near in printed.err
    assert stored() == []


@pytest.mark.parametrize("budget", ["0steps", "1.5steps", "-3s", "s", "3h", "steps", "1e3s"])
def test_a_budget_is_steps_or_seconds(capsys: pytest.CaptureFixture[str], budget: str) -> None:
    """Anything else is refused and told how to write it."""
    assert main(["run", "--models", "uniform", "--budget", budget]) == 2
    assert "write it as 2000steps, 30s or 5m" in capsys.readouterr().err


# ---- run


def bigram_in_sample(k: float) -> float:
    """NLL of the add-k bigram on its own training names, in plain Python."""
    text = "." + "".join(f"{name}." for name in NAMES)
    pairs, firsts = Counter(itertools.pairwise(text)), Counter(text[:-1])
    total = sum(-n * math.log((n + k) / (firsts[a] + k * V)) for (a, _), n in pairs.items())
    return total / sum(pairs.values())


def test_the_table_is_on_stdout_and_progress_on_stderr(
    capsys: pytest.CaptureFixture[str], names: str
) -> None:
    """One row a model with its NLL, best first; one line a cell on stderr; exit 0."""
    assert run("--models", "uniform,count-bigram", "--dataset", names, "--split", "all") == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    uniform = next(line for line in lines if re.search(r"^ *–  uniform@numpy ", line))
    bigram = next(line for line in lines if re.search(r"^ *–  count-bigram@numpy ", line))
    assert f"{math.log(V):.4f}" in uniform
    assert f"{bigram_in_sample(1.0):.4f}" in bigram
    assert lines.index(bigram) < lines.index(uniform)
    assert "125 / 125 / 125 documents" in lines[1]
    (path,) = stored()
    assert re.fullmatch(
        rf"\[1/2\] uniform@numpy  test NLL {math.log(V):.4f}  \d+\.\d s\n"
        rf"\[2/2\] count-bigram@numpy  test NLL {bigram_in_sample(1.0):.4f}  \d+\.\d s\n"
        rf"stored: {re.escape(str(path))}\n",
        printed.err,
    )


def test_json_is_strict(capsys: pytest.CaptureFixture[str], names: str) -> None:
    """`--json` prints one document without NaN or Infinity; an infinite NLL is null and counted."""
    models = "count-bigram:k=0/1"
    split = "grouped:fractions=0.05,0.05,0.9"
    assert run("--models", models, "--dataset", names, "--split", split, "--json") == 0
    printed = strict(capsys.readouterr().out)
    assert printed["header"]["cells"] == ["count-bigram@numpy:k=0", "count-bigram@numpy:k=1"]
    infinite, finite = printed["records"]
    assert infinite["status"] == finite["status"] == "ok"
    assert infinite["metrics"]["test_nll"] is None
    assert infinite["metrics"]["zero_probability"]["test"] > 0
    assert finite["metrics"]["test_nll"] > 0
    assert finite["metrics"]["zero_probability"]["test"] == 0


def test_a_record_names_its_plugin_and_its_code(capsys: pytest.CaptureFixture[str], names: str) -> None:
    """Distribution, version and the hash of the sources: what a later run must share to be the same."""
    assert run("--models", "uniform", "--dataset", names, "--json") == 0
    (record,) = strict(capsys.readouterr().out)["records"]
    assert record["plugin"] == {
        "distribution": "nextchar-harness",
        "version": importlib.metadata.version("nextchar-harness"),
        "code_hash": registry.code_hash("harness_plugins.uniform:Uniform"),
    }


def test_seeds_repeat_every_model(capsys: pytest.CaptureFixture[str], names: str) -> None:
    """`--seeds 2` gives two cells a model, each with its own seed; the first is that of `--seeds 1`."""
    seeds = []
    for count in ("1", "2"):
        models = "nn-bigram:steps=2"
        assert run("--models", models, "--dataset", names, "--seeds", count, "--json") == 0
        seeds.append([record["seed"] for record in strict(capsys.readouterr().out)["records"]])
    assert seeds[1][0] == seeds[0][0]
    assert len(set(seeds[1])) == 2


def test_output_is_the_run_file_and_its_side_files(capsys: pytest.CaptureFixture[str], names: str) -> None:
    """`--output FILE` writes FILE and FILE.d/, which can be read without the results folder."""
    assert run("--models", "count-bigram", "--dataset", names, "--output", "deep/mine.jsonl") == 0
    assert capsys.readouterr().err.endswith("stored: deep/mine.jsonl\n")
    (kept,) = stored()
    assert Path("deep/mine.jsonl").read_bytes() == kept.read_bytes()
    kept.unlink()
    found = store.read(Path("deep/mine.jsonl"))
    (record,) = found.records
    assert found.closed
    scores, params, samples = found.scores(record), found.params(record), found.samples(record)
    assert scores is not None
    assert params is not None
    assert scores["test_sums"].sum() / scores["test_lengths"].sum() == pytest.approx(record.metrics.test_nll)
    assert params["counts"].shape == (V, V)
    assert samples


@pytest.mark.parametrize("existing", ["mine.jsonl", "mine.jsonl.d"])
def test_output_overwrites_nothing(capsys: pytest.CaptureFixture[str], names: str, existing: str) -> None:
    """Where FILE or FILE.d exists it is refused before anything has run."""
    Path(existing).write_text("precious")
    assert run("--models", "uniform", "--dataset", names, "--output", "mine.jsonl") == 2
    assert "mine.jsonl exists" in capsys.readouterr().err
    assert Path(existing).read_text() == "precious"
    assert stored() == []


def test_results_names_the_folder_of_runs(
    capsys: pytest.CaptureFixture[str], names: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--results` goes before $HARNESS_RESULTS, which goes before `results`."""
    monkeypatch.setenv("HARNESS_RESULTS", "from-environment")
    assert run("--models", "uniform", "--dataset", names) == 0
    assert run("--models", "uniform", "--dataset", names, "--results", "given") == 0
    folders = {path.parent.name for path in Path().rglob("*.jsonl")}
    assert folders == {"from-environment", "given"}


@pytest.mark.usefixtures("unguarded")
def test_dry_run_runs_nothing(capsys: pytest.CaptureFixture[str], names: str, plugin: str) -> None:
    """`--dry-run` prints the cells with budget and cost; no class is imported, nothing is written."""
    models = "nowhere,absent,mlp@numpy:steps=7,uniform"
    arguments = ("--models", models, "--plugin", plugin, "--dataset", names, "--seeds", "2")
    assert run(*arguments, "--dry-run") == 0
    printed = capsys.readouterr()
    rows = [re.split(r"  +", line) for line in printed.out.splitlines()[2:]]
    labels = ["nowhere@numpy", "absent@numpy", "mlp@numpy:steps=7"]
    twice = [name for label in labels for name in (label, f"{label} #2")]
    assert [row[0] for row in rows] == [*twice, "uniform@numpy"]  # which no seed changes
    assert {row[0]: row[3] for row in rows}["mlp@numpy:steps=7"] == "7 steps"
    assert rows[2][4].startswith("skipped: no_such_module_anywhere is not installed")
    assert rows[0][4] == "not yet measured here"
    assert printed.err == ""
    assert not Path("results").exists()


def test_dry_run_tells_what_a_cell_took_the_last_time(capsys: pytest.CaptureFixture[str], names: str) -> None:
    """A cell that is on record shows its seconds, another configuration does not."""
    assert run("--models", "count-bigram", "--dataset", names) == 0
    capsys.readouterr()
    assert run("--models", "count-bigram:k=1/2", "--dataset", names, "--dry-run") == 0
    known, unknown = capsys.readouterr().out.splitlines()[2:]
    assert re.search(r"\d\.\d s last time$", known)
    assert unknown.endswith("not yet measured here")


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal is simulated by a pseudo-terminal")
def test_progress_on_a_terminal_leaves_the_lines_of_finished_cells(names: str) -> None:
    """With a terminal on stderr there are bars; the table on stdout is the same as without."""
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "harness", "run", "--models", "uniform,nn-bigram", "--dataset", names]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True) as child:
        os.close(theirs)
        shown = b""
        while True:
            try:
                read = os.read(ours, 4096)
            except OSError:  # the other end was closed
                break
            if not read:
                break
            shown += read
        os.close(ours)
        assert child.stdout is not None
        table = child.stdout.read()
    assert child.returncode == 0
    assert b"\x1b[" in shown
    assert re.search(rb"\[1/2\] uniform@numpy  test NLL \d\.\d{4}  \d+\.\d s", shown)
    assert re.search(rb"\[2/2\] nn-bigram@numpy  test NLL \d\.\d{4}  \d+\.\d s", shown)
    assert re.search(r"^ *1  nn-bigram@numpy ", table, re.MULTILINE)
    assert "\x1b" not in table


# ---- exit codes


@pytest.mark.usefixtures("unguarded")
@pytest.mark.parametrize(
    ("models", "statuses", "code"),
    [
        ("fair", ["ok"], 0),
        ("counts,fair", ["ok", "ok"], 0),
        ("raises,fair", ["failed", "ok"], 4),
        ("exits,fair", ["failed", "ok"], 4),
        ("nowhere,fair", ["failed", "ok"], 4),
        ("greedy,fair", ["out-of-memory", "ok"], 4),
        ("diverges,fair", ["diverged", "ok"], 4),
        ("badparams,fair", ["diverged", "ok"], 4),
        ("nanrows,fair", ["invalid", "ok"], 5),
        ("toomuch,fair", ["invalid", "ok"], 5),
        ("toolittle,fair", ["invalid", "ok"], 5),
        ("raises,nanrows,fair", ["failed", "invalid", "ok"], 5),
        ("absent,fair", ["skipped", "ok"], 0),
        ("elsewhere,fair", ["skipped", "ok"], 0),
        ("absent,elsewhere", ["skipped", "skipped"], 3),
        ("absent,raises", ["skipped", "failed"], 4),
    ],
)
def test_a_cell_that_breaks_is_a_row_and_sets_the_exit_code(
    capsys: pytest.CaptureFixture[str],
    names: str,
    plugin: str,
    models: str,
    statuses: list[str],
    code: int,
) -> None:
    """The status names what happened, a broken cell has a reason and no score, the others finish."""
    assert run("--models", models, "--plugin", plugin, "--dataset", names, "--json") == code
    records = strict(capsys.readouterr().out)["records"]
    assert [record["status"] for record in records] == statuses
    for record in records:
        scored = record["metrics"]["test_nll"]
        if record["status"] == "ok":
            assert scored == pytest.approx(math.log(V))
        else:
            assert scored is None
            assert record["reason"]


@pytest.mark.usefixtures("unguarded")
def test_a_broken_cell_is_in_the_table_with_its_reason(
    capsys: pytest.CaptureFixture[str], names: str, plugin: str
) -> None:
    """Both on stdout, as row and as note, and on stderr when it happens; the reason names the line."""
    assert run("--models", "raises,fair", "--plugin", plugin, "--dataset", names) == 4
    printed = capsys.readouterr()
    (line,) = (number for number, text in enumerate(PLUGIN.splitlines(), 1) if "no luck" in text)
    reason = f"failed: fit: RuntimeError: no luck (models.py:{line})"
    assert re.search(r"^ *–  raises@numpy .* failed$", printed.out, re.MULTILINE)
    assert f"raises@numpy: {reason}\n" in printed.out
    assert f"[1/2] raises@numpy  {reason}" in printed.err


@pytest.mark.parametrize("environment", ["taken", "taken/deeper"])
def test_results_that_cannot_be_written_are_exit_6(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, names: str, environment: str
) -> None:
    """A results folder that is (or lies below) a file is one line that names it."""
    Path("taken").write_text("a file")
    monkeypatch.setenv("HARNESS_RESULTS", environment)
    assert run("--models", "uniform", "--dataset", names) == 6
    printed = capsys.readouterr().err.splitlines()
    assert "taken" in printed[-1]
    assert "never overwritten" not in printed[-1]


@pytest.mark.usefixtures("unguarded")
@pytest.mark.parametrize(
    "breaks", ["raise RuntimeError('no luck')", "raise SystemExit('no luck')", "return 7", "return '\\ud800'"]
)
def test_a_dataset_that_breaks_is_one_line(capsys: pytest.CaptureFixture[str], breaks: str) -> None:
    """A plugin's `load` that raises, exits or returns junk is exit 2 and names the dataset."""
    Path("data.py").write_text(
        "from harness import DatasetSpec, hookimpl\n"
        f"def load(): {breaks}\n"
        "@hookimpl\n"
        "def harness_datasets():\n"
        "    return DatasetSpec('luckless', load, alphabet='ab', licence='CC0', source='here')\n"
    )
    assert main(["data", "describe", "luckless", "--plugin", "data.py"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"harness: [^\n]*luckless[^\n]*\n", printed.err)


def test_a_damaged_run_is_exit_6(capsys: pytest.CaptureFixture[str]) -> None:
    """`show` of a file that is no run is one line that names the file."""
    Path("broken.jsonl").write_text("no run\n")
    assert main(["show", "broken.jsonl"]) == 6
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("harness: broken.jsonl: not a run file")


def test_cells_in_processes_of_their_own_end_the_same(
    capsys: pytest.CaptureFixture[str], names: str, plugin: str
) -> None:
    """Without --in-process: the same statuses, whatever breaks in a child, and the same exit code."""
    models = "raises,exits,diverges,nanrows,absent,fair"
    assert main(["run", "--models", models, "--plugin", plugin, "--dataset", names, "--json"]) == 5
    records = strict(capsys.readouterr().out)["records"]
    assert [record["status"] for record in records] == [
        "failed",
        "failed",
        "diverged",
        "invalid",
        "skipped",
        "ok",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent as SIGINT to the process group")
def test_an_interrupted_run_stays_open_and_readable(names: str, plugin: str) -> None:
    """Ctrl-C in the second cell: exit 130, one line, no traceback; the first cell is stored."""
    command = [sys.executable, "-m", "harness", "run", "--models", "fair,hangs,uniform"]
    child = subprocess.Popen(
        [*command, "--plugin", plugin, "--dataset", names],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert child.stderr is not None
        assert child.stderr.readline().startswith("[1/3] fair@numpy")
        os.killpg(child.pid, signal.SIGINT)
        printed, said = child.communicate(timeout=30)
    finally:
        with contextlib.suppress(ProcessLookupError):  # where it has ended, as it should
            os.killpg(child.pid, signal.SIGKILL)
    assert child.returncode == 130
    assert printed == ""
    assert said.strip() == "harness: interrupted; finished cells are stored"
    (path,) = stored()
    left = store.read(path)
    assert not left.closed
    assert left.warnings == []
    assert [record.model for record in left.records] == ["fair"]
    assert left.header.cells == ["fair@numpy", "hangs@numpy", "uniform@numpy"]


def test_a_reader_that_leaves_is_no_error() -> None:
    """`harness list models | true`: the pipe is closed, exit 0 and not a word on stderr."""
    assert unread("list", "models") == (0, b"")


@pytest.mark.parametrize("unbuffered", [False, True])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["gate", "--baseline", "results/better.jsonl", "--head", "results/worse.jsonl"], 1),
        (["list", "nothing"], 2),
        (["gate"], 3),
        (["verify", "--store", "--results", "damaged"], 6),
    ],
)
def test_a_reader_that_leaves_changes_no_answer(words: list[str], code: int, unbuffered: bool) -> None:
    """The exit code is that of the same command with a reader, whether stderr is read or gone too."""
    runs.write(runs.run(1, runs.record(), run_id="better"))
    runs.write(runs.run(2, runs.failed(), run_id="worse"))
    damaged = runs.write(runs.run(3, runs.record(), folder=Path("damaged")))
    damaged.write_bytes(damaged.read_bytes().replace(b"names", b"Names"))
    with_reader = subprocess.run([sys.executable, "-m", "harness", *words], capture_output=True, check=False)
    assert with_reader.returncode == code
    assert unread(*words, unbuffered=unbuffered) == (code, with_reader.stderr)
    assert unread(*words, unbuffered=unbuffered, all_gone=True) == (code, b"")


def unread(*words: str, all_gone: bool = False, unbuffered: bool = False) -> tuple[int, bytes]:
    """The exit code and stderr of a command whose stdout, or both, nobody reads from the start."""
    code = "import sys; sys.stdin.read(1); from harness.cli import entry; entry()"
    command = [sys.executable, *["-u"] * unbuffered, "-c", code, *words]
    stderr = subprocess.STDOUT if all_gone else subprocess.PIPE
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.close()
        child.stdin.close()  # only now does it start
        said = child.stderr.read() if child.stderr is not None else b""
        return child.wait(), said


def test_a_closed_stderr_is_no_error() -> None:
    """`harness run … 2>&-`: the table comes, and no file that the run writes became number 2."""
    shell = 'exec "$0" -m harness run --models uniform --threads 1 2>&-'
    done = subprocess.run(["sh", "-c", shell, sys.executable], stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0
    assert "uniform@numpy" in done.stdout
    assert not store_check.check(Path("results")).findings


# ---- show


@pytest.mark.parametrize("split", ["grouped", "all"])
def test_show_prints_the_same_table(capsys: pytest.CaptureFixture[str], names: str, split: str) -> None:
    """`show` of the latest run, by its id, the start of its id or its file: what `run` printed."""
    models = "uniform,count-bigram:k=0/1"
    assert run("--models", "uniform", "--dataset", names, "--split", split) == 0
    first = capsys.readouterr().out
    (path,) = stored()
    assert main(["show"]) == 0
    assert capsys.readouterr().out == first
    assert run("--models", models, "--dataset", names, "--split", split) == 0
    table = capsys.readouterr().out
    (latest,) = set(stored()) - {path}
    for name in (latest.stem, latest.stem[:-1], str(latest)):
        assert main(["show", name]) == 0
        assert capsys.readouterr().out == table


def test_show_json_is_that_of_the_run(capsys: pytest.CaptureFixture[str], names: str) -> None:
    """`show --json` prints the same document as `run --json`."""
    assert run("--models", "count-bigram:k=0/1", "--dataset", names, "--json") == 0
    document = strict(capsys.readouterr().out)
    assert main(["show", "--json"]) == 0
    assert strict(capsys.readouterr().out) == document


def test_show_names_an_ambiguous_or_unknown_run(capsys: pytest.CaptureFixture[str], names: str) -> None:
    """The start of two ids, or of none, is a mistake that points to `list runs`."""
    for _ in range(2):
        assert run("--models", "uniform", "--dataset", names) == 0
    capsys.readouterr()
    for name, said in (("2", "several runs start with '2'"), ("x", "no run starts with 'x'")):
        assert main(["show", name]) == 2
        printed = capsys.readouterr().err
        assert said in printed
        assert "harness list runs" in printed


def test_show_says_that_a_run_is_open(capsys: pytest.CaptureFixture[str], names: str) -> None:
    """A run without its end line is shown with a warning."""
    assert run("--models", "uniform,count-bigram", "--dataset", names) == 0
    (path,) = stored()
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    capsys.readouterr()
    assert main(["show"]) == 0
    printed = capsys.readouterr()
    assert "uniform" in printed.out
    assert "count-bigram" not in printed.out
    assert f"warning: {path} is open" in printed.err


# ---- list


@pytest.mark.usefixtures("unguarded")
def test_list_models_has_a_row_for_every_backend(capsys: pytest.CaptureFixture[str], plugin: str) -> None:
    """Every backend of every model, and why one that cannot be used cannot."""
    assert main(["list", "models", "--plugin", plugin, "--json"]) == 0
    rows = strict(capsys.readouterr().out)
    models = itertools.accumulate((row["model"] for row in rows), lambda last, name: name or last)
    specs = registry.discover([plugin], guard_files=False).models
    assert list(zip(models, (row["backend"] for row in rows), strict=True)) == [
        (name, backend) for name, spec in specs.items() for backend in spec.backends
    ]
    (absent,) = (row for row in rows if row["model"] == "absent")
    assert absent["available"].startswith("no: no_such_module_anywhere is not installed")


def test_list_datasets_has_every_dataset_and_file(capsys: pytest.CaptureFixture[str]) -> None:
    """The registered ones with their licence and options, and `file:PATH`."""
    assert main(["list", "datasets", "--json"]) == 0
    rows = {row["dataset"]: row for row in strict(capsys.readouterr().out)}
    assert {"names", "makemore-names", "tinyshakespeare", "markov", "file:PATH"} <= set(rows)
    assert rows["markov"]["options"].startswith("order=1,")
    assert all(row["licence"] for row in rows.values())


@pytest.mark.usefixtures("unguarded")
def test_list_plugins_names_what_each_brings(capsys: pytest.CaptureFixture[str], plugin: str) -> None:
    """Built-in plugins and the given file, with their models and their state."""
    assert main(["list", "plugins", "--plugin", plugin, "--json"]) == 0
    rows = strict(capsys.readouterr().out)
    brings = {(row["plugin"], row["distribution"]): (row["models"], row["datasets"]) for row in rows}
    ours = f"nextchar-harness {importlib.metadata.version('nextchar-harness')}"
    assert "count-bigram" in brings["models", ours][0].split(", ")
    assert "markov" in brings["datasets", ours][1].split(", ")
    assert "nanrows" in brings["models", "models.py"][0].split(", ")
    assert {row["state"] for row in rows} == {"ok"}


def test_list_runs_has_a_row_for_every_run(capsys: pytest.CaptureFixture[str], names: str) -> None:
    """Oldest first, with the best model and whether the file is closed; damaged files are warnings."""
    assert main(["list", "runs"]) == 0
    assert capsys.readouterr().out == "no runs\n"
    assert run("--models", "uniform,count-bigram", "--dataset", names) == 0
    nll = store.read(stored()[0]).records[1].metrics.test_nll
    Path("results/broken.jsonl").write_text("no run\n")
    open_run = Path("results/99999999T000000Z-open.jsonl")
    _, header = store.decode_line(stored()[0].read_bytes().splitlines()[0])
    other = header.replace(stored()[0].stem.encode(), open_run.stem.encode())
    open_run.write_bytes(store.encode_line("header", other))
    capsys.readouterr()
    assert main(["list", "runs", "--json"]) == 0
    printed = capsys.readouterr()
    closed, opened = strict(printed.out)
    assert (closed["run"], closed["ok"], closed["state"]) == (stored()[0].stem, "2/2", "closed")
    assert closed["best"] == f"count-bigram {nll:.4f}"
    assert (opened["ok"], opened["best"], opened["state"]) == ("0/2", "–", "open")
    assert re.fullmatch(r"harness: warning: results/broken\.jsonl: not a run file[^\n]*\n", printed.err)


def test_runs_are_ordered_by_their_age() -> None:
    """Run files made one after the other sort in that order: `latest` is the last one made."""
    paths = [notebook.new_path(Path("results")) for _ in range(20)]
    assert sorted(paths) == paths


@pytest.mark.parametrize("what", ["models", "datasets", "plugins"])
def test_list_prints_a_table(capsys: pytest.CaptureFixture[str], what: str) -> None:
    """Without --json: the columns' titles, a rule, and the rows of --json in their order."""
    assert main(["list", what, "--json"]) == 0
    rows = strict(capsys.readouterr().out)
    assert main(["list", what]) == 0
    title, rule, *body = capsys.readouterr().out.splitlines()
    assert title.split()[0] == next(iter(rows[0]))
    assert set(rule) == {"-", " "}
    assert len(body) == len(rows)


# ---- data


def test_data_describe_prints_the_card(capsys: pytest.CaptureFixture[str], names: str) -> None:
    """Size, sha256, alphabet, duplicates and lengths, the same in --json."""
    Path("few.txt").write_text("ab\n\nabcd\nab\ne\n")
    assert main(["data", "describe", names, "--json"]) == 0
    card = strict(capsys.readouterr().out)
    assert card["sha256"] == hashlib.sha256(b"ab\n\nabcd\nab\ne\n").hexdigest()
    assert card["size"] == "14 bytes"
    assert card["alphabet"].startswith("5 characters and the boundary: abcde")
    assert (card["documents"], card["distinct"], card["duplicates"]) == ("4", "3", "1")
    assert card["blank lines dropped"] == "1"
    assert card["lengths"] == "shortest 1, median 2, mean 2.25, longest 4"
    assert card["targets"] == "13, ends included"
    assert main(["data", "describe", names]) == 0
    printed = dict(re.split(r"  +", line, maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert printed == {key: str(value) for key, value in card.items()}


def test_data_describe_reads_running_text(capsys: pytest.CaptureFixture[str], names: str) -> None:
    """`--as text` counts characters, line breaks included, and cuts contiguously."""
    assert main(["data", "describe", names, "--as", "text", "--json"]) == 0
    card = strict(capsys.readouterr().out)
    assert card["characters"] == "500"
    assert card["default split"] == "contiguous"


def test_data_fetch_verifies_and_needs_the_network_only_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without file and network it is exit 2 with the way out; a damaged file is named."""
    monkeypatch.delenv("HARNESS_DATA_DIR", raising=False)
    assert main(["data", "fetch", "makemore-names"]) == 2
    assert "put it at HARNESS_DATA_DIR/makemore-names.txt" in capsys.readouterr().err
    Path("makemore-names.txt").write_text("emma\n")
    monkeypatch.setenv("HARNESS_DATA_DIR", os.getcwd())
    assert main(["data", "fetch", "makemore-names"]) == 2
    assert "not the file it should be" in capsys.readouterr().err


def test_data_fetch_of_a_given_file_says_what_it_has(
    capsys: pytest.CaptureFixture[str], makemore_path: Path
) -> None:
    """The lectures' file where it is given: its size and its checksum."""
    assert main(["data", "fetch", "makemore-names"]) == 0
    size = (makemore_path / "makemore-names.txt").stat().st_size
    assert capsys.readouterr().out.startswith(f"makemore-names: {size:,} bytes, sha256 ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line() -> None:
    """Output that cannot be written is exit 6 and one line, no traceback."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "harness", "list", "models"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 6
    assert done.stderr == "harness: the disk that the output goes to is full\n"


def test_show_of_damaged_side_files_keeps_the_figures(capsys: pytest.CaptureFixture[str], names: str) -> None:
    """Damaged scores cost the ranks, not the table: one warning, exit 6."""
    assert run("--models", "uniform,count-bigram", "--dataset", names) == 0
    printed = capsys.readouterr().out
    (path,) = stored()
    (store.side_folder(path) / "1.scores.npz").write_bytes(b"no archive")
    assert main(["show"]) == 6
    shown = capsys.readouterr()
    assert "1.scores.npz: damaged" in shown.err
    nll = re.search(r"count-bigram@numpy +\d+ +(\S+)", printed)
    assert nll
    assert nll[1] in shown.out


@pytest.mark.parametrize("lost", ["changed", "gone"])
def test_a_run_that_lost_a_line_is_damaged_to_every_verb(
    capsys: pytest.CaptureFixture[str], names: str, lost: str
) -> None:
    """Changed, or gone and counted by the end line: exit 6, and what remains is shown."""
    assert run("--models", "uniform,count-bigram", "--dataset", names) == 0
    (path,) = stored()
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"ok", b"xx", 1) if lost == "changed" else b""
    path.write_bytes(b"".join(lines))
    for verb in ("show", "verify", "verify --store", "export --to csv", "report --rescore 0 --output r.html"):
        capsys.readouterr()
        assert main(verb.split()) == 6, verb
        printed = capsys.readouterr()
        assert path.name in printed.out + printed.err, verb
        assert "uniform" in printed.out or verb in ("verify --store", "report --rescore 0 --output r.html")
    assert main(["list", "runs"]) == 0
    assert "damaged" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        "show",
        "verify",
        "export --to csv",
        "report --rescore 0",
        "sample uniform",
        "compare uniform latest:count-bigram",
    ],
)
def test_a_foreign_file_hides_no_run(capsys: pytest.CaptureFixture[str], names: str, words: str) -> None:
    """A `.jsonl` of another program in the results folder: one warning, and the verb does its work."""
    assert run("--models", "uniform,count-bigram", "--dataset", names) == 0
    Path("results/events.jsonl").write_text('{"event":"x"}\n')
    capsys.readouterr()
    assert main(words.split()) == 0
    assert capsys.readouterr().err.count("events.jsonl: not a run file of harness") == 1


def test_an_error_of_our_own_is_no_verdict(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody expects ends with exit 70 and its traceback: exit 1 is the gate's FAIL."""

    def break_down() -> int:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("harness.cli.main", break_down)
    with pytest.raises(SystemExit) as left:
        entry()
    assert left.value.code == 70
    said = capsys.readouterr().err.splitlines()
    assert "ZeroDivisionError: a bug" in said
    assert said[-1].startswith("harness: an error of harness itself")
