"""The child of a cell: it holds the model and answers frames. The clock and the text are not here.

python -m harness.worker FD    a child that is started afresh (CUDA, audits); others are forked (`server`)

However it was started it leaves by `os._exit`: what a model has left for the interpreter's end never runs.
"""

from __future__ import annotations

import math
import os
import resource
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import registry, seeds, wire
from harness.contract import Model, Trial
from harness.corpus import Alphabet, Corpus
from harness.errors import InvalidModel
from harness.instances import instance

BETWEEN_PROGRESS = 0.05  # seconds
STARTS = ("subprocess.Popen", "os.posix_spawn")  # audit events whose first argument is a program
CODE = (".py", ".pyc", ".so", ".pyd")  # thousands of files at the import of torch


class Cell:
    """One model in its own process, driven by frames."""

    def __init__(self, channel: wire.Channel) -> None:
        self.channel = channel
        self.made: Mapping[str, Any] = {}
        self.found: registry.Registry | None = None
        self.model: Model | None = None
        self.corpora: dict[str, Corpus] = {}
        self.opened: set[str] = set()  # files, where the request to open asks for them to be watched
        self.started: set[str] = set()  # programs, likewise

    def serve(self) -> None:
        """Say hello, then answer until `bye` or the connection's end."""
        self.channel.send({"hello": wire.VERSION, "pid": os.getpid()})
        while True:
            try:
                message, arrays = self.channel.receive()
            except wire.Closed:
                return
            if message.get("op") == "bye":
                return
            self.answer(message, arrays)

    def answer(self, message: wire.Message, arrays: dict[str, NDArray[Any]]) -> None:
        """One request; what the model raises goes back as an `error` frame."""
        try:
            reply, payload = self.act(message, arrays)
        except wire.Closed:
            raise
        except (Exception, SystemExit) as error:
            self.channel.send(describe(error))
            return
        if not isinstance(payload, dict):
            payload = {"rows": payload}
        if bad := {k: type(v).__name__ for k, v in payload.items() if not isinstance(v, np.ndarray)}:
            self.channel.send(
                {"error": "InvalidModel", "text": f"{message['op']} returned {bad}, not a numpy array"}
            )
            return
        try:
            self.channel.send(reply, payload)
        except wire.WireError as error:
            if isinstance(error, wire.Closed):
                raise
            self.channel.send({"error": "InvalidModel", "text": f"{message['op']}: {error}"})

    def act(self, message: wire.Message, arrays: dict[str, NDArray[Any]]) -> tuple[wire.Message, Any]:
        """What a request asks for: the reply and its arrays."""
        op = message["op"]
        if op == "open":
            return self.open(message), {}
        if op == "look":
            return {"ok": True, **look()}, {}
        if op == "opened":
            return {"ok": True, "paths": sorted(self.opened), "programs": sorted(self.started)}, {}
        if op == "data":
            self.corpora[message["part"]] = Corpus(
                arrays["tokens"], arrays["offsets"], Alphabet(message["alphabet"]), message["kind"]
            )
            return {"ok": True}, {}
        if op == "new":
            self.model = self.new(message["seed"])
            return {"ok": True}, {}
        model = self.model
        if model is None:
            raise RuntimeError(f"{op} before new")
        if op == "load":
            model.params = {name: np.array(value) for name, value in arrays.items()}
            return {"ok": True}, {}
        if op == "params":
            return {"ok": True}, {name: np.asarray(value) for name, value in model.params.items()}
        if op == "warm_up":
            trial = Trial(message["seed"], model.device, self.made["threads"], on_build=model.builder)
            few = self.corpora["few"]
            model.warm_up(few, trial.for_warm_up(few.alphabet.size))
            return {"ok": True}, {}
        if op == "fit":
            return self.fit(model, message), {}
        if op == "fit_seeds":
            return self.fit_seeds(model, message)
        if op == "log_probs":
            rows = model.log_probs(arrays["inputs"])
            if message.get("echo") and isinstance(rows, np.ndarray):  # an audit: what has become of them
                return {"ok": True}, {"rows": rows, "inputs": arrays["inputs"]}
            return {"ok": True}, rows
        if op == "next_log_probs":
            return {"ok": True}, model.next_log_probs(arrays["inputs"])
        if op == "sample":
            return {"ok": True}, self.sample(model, message)
        raise RuntimeError(f"unknown request {op!a}")

    def open(self, message: wire.Message) -> wire.Message:
        """Find the model's class; limits and threads were set before."""
        self.made = message
        if "environment" in message:
            take_on(message["environment"], message["cwd"])
        if message.get("watch"):
            watch(self.opened, self.started)
        self.found = registry.discover(message["plugins"], guard_files=False)
        registry.resolve(self.found.model(message["model"]), message["backend"])
        torch: Any = sys.modules.get("torch")
        if torch is not None:
            torch.set_num_threads(message["threads"])
        return {"ok": True}

    def new(self, seed: int) -> Model:
        """A new instance, as the harness makes them."""
        if self.found is None:
            raise RuntimeError("new before open")
        seeds.seed_everything(seed)
        made = self.made
        return instance(self.found, made["model"], made["backend"], made["config"], made["vocabulary"], seed)

    def fit(self, model: Model, message: wire.Message) -> wire.Message:
        """Fit; progress and checkpoints go to the parent while it lasts."""
        trial = self.trial(model, message, message["seed"], self.progress(), self.checkpoint(True))
        model.fit(self.corpora["train"], self.corpora["dev"], trial)
        return {"ok": True, "targets_consumed": int(trial.targets_consumed)}

    def fit_seeds(
        self, model: Model, message: wire.Message
    ) -> tuple[wire.Message, dict[str, NDArray[Any]] | list[Any]]:
        """Fit many seeds as one problem; the progress of the first goes to the parent, checkpoints of all."""
        trials = [
            self.trial(model, message, seed, None if number else self.progress(), self.checkpoint(number))
            for number, seed in enumerate(message["seeds"])
        ]
        found = model.fit_seeds(self.corpora["train"], self.corpora["dev"], trials)
        if not isinstance(found, list) or len(found) != len(trials):
            raise InvalidModel(f"fit_seeds returned no list of {len(trials)} params")
        arrays = {f"{i}/{name}": value for i, params in enumerate(found) for name, value in params.items()}
        return {"ok": True, "targets_consumed": [int(trial.targets_consumed) for trial in trials]}, arrays

    def trial(
        self,
        model: Model,
        message: wire.Message,
        seed: int,
        progress: Callable[[int, int, Mapping[str, float]], None] | None,
        checkpoint: Callable[[Model], float],
    ) -> Trial:
        """What a fit is given here."""
        return Trial(
            seed,
            model.device,
            self.made["threads"],
            seconds=message.get("seconds"),
            steps=message["steps"],
            on_progress=progress,
            on_checkpoint=checkpoint,
            on_build=model.builder,
        )

    def progress(self) -> Callable[[int, int, Mapping[str, float]], None]:
        """What tells the parent how far a fit is."""
        last = 0.0

        def progress(done: int, total: int, scalars: Mapping[str, float]) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last > BETWEEN_PROGRESS:
                last = now
                numbers = {name: float(value) for name, value in scalars.items()}
                self.channel.send({"progress": [int(done), int(total)], "scalars": numbers})

        return progress

    def checkpoint(self, which: bool | int) -> Callable[[Model], float]:
        """What answers requests until the parent has measured the model; `which`: of several seeds."""

        def checkpoint(current: Model) -> float:
            self.channel.send({"checkpoint": which})
            kept, self.model = self.model, current
            try:
                while True:
                    request, arrays = self.channel.receive()
                    if request.get("op") == "checked":
                        return math.inf if request["nll"] is None else float(request["nll"])
                    self.answer(request, arrays)
            finally:
                self.model = kept

        return checkpoint

    def sample(self, model: Model, message: wire.Message) -> dict[str, NDArray[Any]]:
        """Documents as one array of tokens and one of lengths."""
        rng = np.random.default_rng()
        rng.bit_generator.state = message["rng"]
        drawn = model.sample(
            message["n"],
            message["max_length"],
            rng,
            temperature=message["temperature"],
            top_k=message["top_k"],
            prompt=message["prompt"],
        )
        enough = message["n"] + 1  # one too many is told to the parent; some never end
        pieces = [np.asarray(document) for document in islice(drawn, enough)]
        return {
            "tokens": np.concatenate([*pieces, np.zeros(0, np.int64)]),
            "lengths": np.array([len(piece) for piece in pieces], np.int64),
        }


def look() -> wire.Message:
    """What runs here beside the cell's own thread, and what the clocks that a model can reach say."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    others = set(sys._current_frames()) - {threading.get_ident()}
    return {
        "threads": sorted(names.get(ident, "without a name") for ident in others),
        "clocks": {name: float(getattr(time, name)()) for name in ("perf_counter", "monotonic", "time")},
    }


def take_on(environment: Mapping[str, str], cwd: str) -> None:
    """Variables and a working directory, before anything of the model is loaded."""
    os.environ.update(environment)
    tempfile.tempdir = None  # asked for again
    os.chdir(cwd)


def watch(opened: set[str], started: set[str]) -> None:
    """Collect every file that Python code opens from now on, code itself left out, and programs it starts.

    A hook cannot be taken out again; what native code or another program opens it does not see.
    """

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes):
            path = os.fsdecode(arguments[0])
            if not path.endswith(CODE):
                opened.add(os.path.abspath(path))
        elif event in STARTS:
            started.add(os.path.basename(os.fsdecode(arguments[0])))
        elif event == "os.system":
            started.add("a shell")

    sys.addaudithook(hook)


def describe(error: BaseException) -> wire.Message:
    """An exception as a frame: its class, its text and the place that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    names = [kind.__name__ for kind in type(error).__mro__]
    text = " ".join(str(error).split())[:2000]
    traceback.print_exception(error)  # into the cell's own stderr file
    return {"error": type(error).__name__, "kinds": names, "text": text, "where": where}


def run_cell(fd: int) -> None:
    """Serve one cell on a connected socket."""
    with socket.socket(fileno=fd) as sock:
        Cell(wire.Channel(sock)).serve()


def limit_memory(extra: int | None) -> None:
    """Bound the address space to its present size and `extra` bytes; None is no bound."""
    if extra is None:
        return
    square = np.ones((256, 256))
    square @ square  # BLAS makes its threads now: refused memory later, it would wait for them for ever
    try:
        present = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        present = 0
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = present + extra
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


if __name__ == "__main__":
    limit_memory(int(sys.argv[2]) if len(sys.argv) > 2 else None)
    status = 1
    try:
        run_cell(int(sys.argv[1]))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
