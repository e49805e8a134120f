"""One process per cell: what a model does, only its own row shows."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from threadpoolctl import threadpool_info

import harness
from harness import environment, store
from harness.errors import UsageError
from harness.notebook import Result
from harness.record import Record

ROGUES = Path(__file__).parent / "rogues" / "cells.py"
DATA = "markov:documents=300"


def processes(mark: str) -> list[str]:
    """Command lines of living processes that hold a text."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if mark in command and state != "Z":
            found.append(command)
    return found


def run(models: str, tmp_path: Path, **options: Any) -> Result:
    """A run with the rogues at hand."""
    return harness.run(models, plugin=[ROGUES], dataset=DATA, results=tmp_path / "results", **options)


def figures(record: Record) -> tuple[Any, ...]:
    """What must not depend on who ran beside."""
    drawn = record.sample_statistics
    return (record.model, record.status, record.metrics, record.parameters, record.data, record.seed, drawn)


@pytest.mark.parametrize(
    ("rogue", "status", "reason"),
    [
        ("raises", "failed", "fit: KeyError: 'no such thing' (cells.py:"),
        ("exits", "failed", "fit: its process exited with status 7"),
        ("segfaults", "failed", "fit: its process was ended by SIGSEGV"),
        ("hangs", "timeout", "fit: over the limit of 2 s"),
        ("hangshard", "timeout", "fit: over the limit of 2 s"),
        ("allocates", "out-of-memory", "fit: "),
        ("prints", "ok", None),
        ("garbles", "failed", "fit: expected a frame, got the bytes"),
        ("wrongshape", "invalid", "next_log_probs returned shape"),
        ("wrongtype", "invalid", "next_log_probs returned an array of float16"),
        ("notanarray", "invalid", "log_probs returned list, not an array"),
        ("closes", "failed", "fit: closed its connection to the harness"),
        ("dieslater", "out-of-memory", "evaluate: its process was ended by SIGKILL"),
    ],
)
def test_a_rogue_is_one_row(tmp_path: Path, rogue: str, status: str, reason: str | None) -> None:
    """The status and the reason are right, and the models before and after it are as without it."""
    alone = run("fine,count-bigram", tmp_path)
    limit = 2.0 if "hangs" in rogue else 60.0
    result = run(f"fine,{rogue},count-bigram", tmp_path, timeout=limit, memory=2 * 2**30)
    first, middle, last = result.records
    assert middle.status == status
    assert middle.reason == reason or (middle.reason or "").startswith(reason or "?"), middle.reason
    assert [figures(r) for r in (first, last)] == [figures(r) for r in alone.records]
    assert result.run.closed


def test_nothing_of_a_cell_outlives_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children that a model leaves behind are killed, also one in a session of its own; so is the server."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv("ROGUE_MARK", mark)
    result = run("forks,fine", tmp_path)
    assert [record.status for record in result.records] == ["ok", "ok"]
    assert processes(mark) == []
    assert not list((tmp_path / "results").rglob("*.part"))


def test_output_is_kept_and_capped(tmp_path: Path) -> None:
    """100 MB on stdout become a side file of about 1 MB that says what was left out."""
    (record,) = run("prints", tmp_path).records
    path = next((tmp_path / "results").rglob("0.stdout.txt"))
    assert record.stdout == path.name
    assert path.stat().st_size < 1_100_000
    assert "bytes left out" in path.read_text()
    assert next((tmp_path / "results").rglob("0.stderr.txt")).read_text() == "the end\n" * 2  # warm-up, fit


@pytest.mark.parametrize("threads", [1, 2])
def test_a_cell_in_this_process_has_its_threads(threads: int) -> None:
    """All libraries that share out sums use so many meanwhile, and as many as before afterwards."""
    torch = pytest.importorskip("torch")

    def used() -> list[int]:
        return [torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())]

    before = used()
    assert len(before) > 1
    with environment.threads_here(threads):
        assert set(used()) == {threads}
    assert used() == before


@pytest.mark.parametrize("options", [{"in_process": True}, {"jobs": 2}])
def test_numbers_do_not_depend_on_where_a_cell_runs(tmp_path: Path, options: dict[str, Any]) -> None:
    """In this process, isolated, or two side by side: every number is equal to the bit."""
    models = "uniform,count-bigram,nn-bigram:steps=50,mlp:steps=50"
    isolated = run(models, tmp_path, threads=1)
    other = run(models, tmp_path, threads=1, **options)
    assert [figures(r) for r in other.records] == [figures(r) for r in isolated.records]
    assert other.run.path != isolated.run.path


def test_little_memory_is_no_hang(tmp_path: Path) -> None:
    """Under the smallest limit a model that multiplies matrices ends, one way or the other."""
    (record,) = run("mlp:steps=20", tmp_path, memory=64 * 2**20, timeout=60.0).records
    assert record.status in ("ok", "out-of-memory"), record.reason
    with pytest.raises(UsageError, match="at least 64M"):
        run("mlp:steps=20", tmp_path, memory=10 * 2**20)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"timeout": 5.0}, "has no limits"),
        ({"memory": 2**30}, "has no limits"),
        ({"jobs": 2}, "one cell after the other"),
    ],
)
def test_one_process_has_no_limits(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    """What needs a process of its own is refused with --in-process, before anything runs."""
    with pytest.raises(UsageError, match=said):
        run("uniform", tmp_path, in_process=True, **options)
    assert not (tmp_path / "results").exists()


def test_clocks_and_memory(tmp_path: Path) -> None:
    """An isolated cell knows its start and its peak; every clock is a positive number."""
    (record,) = run("nn-bigram:steps=50", tmp_path).records
    timings = record.timings
    for name in ("start_s", "warmup_s", "train_s", "evaluate_s", "sample_s"):
        assert getattr(timings, name) > 0, name
    assert timings.checkpoint_s == 0
    assert record.peak_rss_bytes is not None
    assert 0 < record.peak_rss_bytes < 500 * 2**20
    assert record.environment["threads"] == environment.cores()
    assert record.environment["noise"] >= 0


def test_checkpoints_cross_the_boundary(tmp_path: Path) -> None:
    """A fit in its own process gets the dev NLL that the parent measures, with the clock stopped."""
    plugin = tmp_path / "checks.py"
    plugin.write_text(
        "import numpy as np\n"
        "from harness import ModelSpec, hookimpl\n"
        "from harness_plugins.count_bigram import CountBigram\n"
        "class Checks(CountBigram):\n"
        "    def fit(self, train, dev, trial):\n"
        "        super().fit(train, dev, trial)\n"
        "        self.params['seen'] = np.array([trial.checkpoint(self), trial.checkpoint(self)])\n"
        "@hookimpl\n"
        "def harness_models(): return ModelSpec('checks', {'numpy': Checks}, config={'k': 1.0}, context=1)\n"
    )
    result = harness.run("checks", plugin=[plugin], dataset=DATA, results=tmp_path)
    (record,) = result.records
    assert record.status == "ok", record.reason
    params = result.run.params(record)
    assert params is not None
    assert params["seen"].tolist() == pytest.approx([record.metrics.dev_nll] * 2, abs=1e-12)
    assert [nll for _, nll in record.curve] == pytest.approx([record.metrics.dev_nll] * 2, abs=1e-12)
    assert record.timings.checkpoint_s is not None
    assert record.timings.checkpoint_s > 0


def test_a_counting_cell_pays_for_no_torch(tmp_path: Path) -> None:
    """A model that needs no torch lives in a process without it; one that does finds it loaded."""
    pytest.importorskip("torch")
    plugin = tmp_path / "looks.py"
    plugin.write_text(
        "import sys\nimport numpy as np\n"
        "LOADED = 'torch' in sys.modules, 'torch._dynamo' in sys.modules\n"
        "from harness import ModelSpec, hookimpl\n"
        "from harness_plugins.uniform import Uniform\n"
        "class Looks(Uniform):\n"
        "    def fit(self, train, dev, trial): self.params['loaded'] = np.array(LOADED)\n"
        "@hookimpl\n"
        "def harness_models():\n"
        "    return ModelSpec('looks', {'numpy': Looks, 'torch': Looks}, requires={'torch': ('torch',)})\n"
    )
    result = harness.run("looks@*", plugin=[plugin], dataset=DATA, results=tmp_path)
    loaded = [result.run.params(record) for record in result.records]
    assert [found and found["loaded"].tolist() for found in loaded] == [[False, False], [True, True]]


# ---- nothing lost


def command(tmp_path: Path, *more: str) -> list[str]:
    """A run of quick models as a shell would start it."""
    return [
        sys.executable, "-m", "harness", "run", "--models", "count-bigram:k=0/0.5/1/2,nn-bigram:steps=20",
        "--dataset", DATA, "--results", str(tmp_path / "results"), "--threads", "1", *more,
    ]  # fmt: skip


def lasting(run: store.Run) -> list[tuple[Any, ...]]:
    """Every column but times, throughput and memory."""
    return [
        (*figures(r), r.status, r.reason, r.absent, r.marks, r.config, r.samples and run.samples(r))
        for r in run.records
    ]


def test_a_killed_run_is_continued(tmp_path: Path) -> None:
    """KILL at growing delays, then the same command: the result is that of an undisturbed run.

    At most one cell is done again, and nothing of the killed run's processes is left.
    """
    results = tmp_path / "results"
    subprocess.run(command(tmp_path), check=True, capture_output=True)
    (path,) = store.run_files(results)
    whole = lasting(store.read(path))
    path.unlink()
    kept = redone = 0
    for attempt in range(6):
        child = subprocess.Popen(command(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while time.monotonic() < until:  # kill when so many lines are there
            files = store.run_files(results)
            lines = files[-1].read_bytes().count(b"\n") if files else 0
            if lines >= 1 + attempt % 5 or child.poll() is not None:
                break
        child.kill()
        child.wait()
        (open_file,) = store.run_files(results)
        before = {record.cell for record in store.read(open_file).records}
        kept += len(before)
        again = subprocess.run(command(tmp_path), check=True, capture_output=True, text=True)
        assert not before or "continuing" in again.stderr
        redone += sum(f"[{cell + 1}/5]" in again.stderr for cell in before)
        (closed,) = store.run_files(results)
        finished = store.read(closed)
        assert finished.closed
        assert not finished.warnings
        assert lasting(finished) == whole
        closed.unlink()
    assert kept > 0
    assert redone == 0


def test_fresh_starts_anew(tmp_path: Path) -> None:
    """`--fresh` leaves the open file as it is and begins another."""
    results = tmp_path / "results"
    subprocess.run(command(tmp_path), check=True, capture_output=True)
    (path,) = store.run_files(results)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]))
    subprocess.run(command(tmp_path, "--fresh"), check=True, capture_output=True)
    assert path.read_bytes() == b"".join(lines[:3])
    assert len(store.run_files(results)) == 2


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fifty_kills_at_random_moments(tmp_path: Path) -> None:
    """KILL at a random moment, then the same command; 50 times: always the undisturbed result."""
    results = tmp_path / "results"
    began = time.monotonic()
    subprocess.run(command(tmp_path), check=True, capture_output=True)
    lasted = time.monotonic() - began
    (path,) = store.run_files(results)
    whole = lasting(store.read(path))
    path.unlink()
    moments = random.Random(0)
    for _ in range(50):
        child = subprocess.Popen(command(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            child.wait(moments.uniform(0, lasted))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        begun = [path for path in store.run_files(results) if b"\n" in path.read_bytes()]  # has its header
        before = {r.cell for path in begun for r in store.read(path).records}
        again = subprocess.run(command(tmp_path), check=True, capture_output=True, text=True)
        newest = store.read(store.run_files(results)[-1])
        assert newest.closed
        assert lasting(newest) == whole
        if len(store.run_files(results)) == 1 and len(before) < 5:
            assert not any(f"[{cell + 1}/5]" in again.stderr for cell in before)
        for file in store.run_files(results):
            file.unlink()


def test_a_server_whose_run_has_gone_ends_in_silence() -> None:
    """The run ends (a full disk, say) while its server loads: no traceback beside the run's own line."""
    ours, theirs = socket.socketpair()
    with theirs:
        ours.close()
        done = subprocess.run(
            [sys.executable, "-m", "harness.server", "", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            capture_output=True,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_killed_server_costs_no_other_row(tmp_path: Path) -> None:
    """A model that kills the server it was forked from: its own row at most, the next cells get a new one."""
    plugin = tmp_path / "killer.py"
    plugin.write_text(
        "import os, signal\n"
        "from harness import ModelSpec, hookimpl\n"
        "from harness_plugins.uniform import Uniform\n"
        "class Kills(Uniform):\n"
        "    def fit(self, train, dev, trial): os.kill(os.getppid(), signal.SIGKILL)\n"
        "@hookimpl\n"
        "def harness_models(): return ModelSpec('kills', {'numpy': Kills})\n"
    )
    result = harness.run(
        "count-bigram,kills,count-bigram:k=2,uniform", plugin=[plugin], dataset=DATA, results=tmp_path
    )
    assert [r.status for r in result.records if r.model != "kills"] == ["ok"] * 3
    assert processes(str(tmp_path)) == []


def test_progress_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    """stderr on a full disk: every cell is run, the table is printed."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command(tmp_path), stdout=subprocess.PIPE, stderr=full, check=False)
    assert done.returncode == 0
    assert b"count-bigram" in done.stdout


def test_what_fresh_replaced_stays_as_it_is(tmp_path: Path) -> None:
    """After --fresh has finished, the same command begins a new run, not the one left open before."""
    results = tmp_path / "results"
    subprocess.run(command(tmp_path), check=True, capture_output=True)
    (path,) = store.run_files(results)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    subprocess.run(command(tmp_path, "--fresh"), check=True, capture_output=True)
    again = subprocess.run(command(tmp_path), check=True, capture_output=True, text=True)
    assert "continuing" not in again.stderr
    assert len(store.run_files(results)) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_a_run_that_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C in the middle of a hanging cell: exit 130, one line, finished cells kept, no orphan."""
    results = tmp_path / "results"
    arguments = [
        sys.executable, "-m", "harness", "run", "--plugin", str(ROGUES), "--models", "fine,hangs",
        "--dataset", DATA, "--results", str(results),
    ]  # fmt: skip
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    assert "[1/2] fine" in child.stderr.readline()
    os.kill(child.pid, number)
    _, said = child.communicate(timeout=30)
    assert child.returncode == 130
    assert said.strip().endswith("harness: interrupted; finished cells are stored")
    (path,) = store.run_files(results)
    left = store.read(path)
    assert not left.closed
    assert [record.model for record in left.records] == ["fine"]
    assert processes(str(results)) == []
