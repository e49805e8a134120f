"""The server that forks cells: it loads what is slow to load once, and leaves no process behind.

    python -m harness.server PRELOAD FD

PRELOAD: modules, comma-separated; the first answer on FD, a connected socket, says which took.
"""

from __future__ import annotations

import array
import gc
import importlib
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.worker import limit_memory, run_cell


def serve_forks(preload: str, fd: int) -> None:
    """Fork a child for every request that comes with its three descriptors.

    Requests are lines of JSON: {"fork": {limits}} with [wire, stdout, stderr] beside it, answered by
    {"pid": …}; {"status": pid}, answered by {"status": exit status or null}. At the connection's
    end every child that is left is killed with its group.
    """
    loaded, failed = [], {}
    for module in preload.split(",") if preload else []:
        try:
            importlib.import_module(module)
            loaded.append(module)
        except Exception as error:
            failed[module] = f"{type(error).__name__}: {error}"
    gc.collect()
    gc.freeze()
    become_subreaper()
    alive: set[int] = set()
    with socket.socket(fileno=fd) as control:
        try:
            control.sendall(json.dumps({"loaded": loaded, "failed": failed}).encode() + b"\n")
            while True:
                line, descriptors = receive_line(control)
                if not line:
                    return
                request = json.loads(line)
                if "fork" in request:
                    pid = fork(control, descriptors, request["fork"])
                    alive.add(pid)
                    reply: dict[str, Any] = {"pid": pid}
                else:
                    reply = {"status": reap(request["status"], alive)}
                control.sendall(json.dumps(reply).encode() + b"\n")
        except (BrokenPipeError, ConnectionResetError):
            return  # who asked has gone meanwhile: the connection's end as any other
        finally:
            for pid in alive:
                kill_group(pid)


def fork(control: socket.socket, descriptors: list[int], limits: Mapping[str, Any]) -> int:
    """A child in a session of its own, its output in the given descriptors."""
    pid = os.fork()
    if pid:
        for descriptor in descriptors:
            os.close(descriptor)
        return pid
    status = 1
    try:
        control.close()
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.dup2(descriptors[1], 1)
        os.dup2(descriptors[2], 2)
        os.close(descriptors[1])
        os.close(descriptors[2])
        limit_memory(limits["memory"])
        run_cell(descriptors[0])
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def reap(pid: int, alive: set[int]) -> int | None:
    """The exit status of a child, or None while it lives; orphans of cells are swept up."""
    if pid not in alive:
        return None
    done, status = os.waitpid(pid, os.WNOHANG)
    if done == 0:
        return None
    kill_group(pid)  # what it left behind
    alive.discard(pid)
    sweep(alive)
    return os.waitstatus_to_exitcode(status)


def sweep(alive: set[int]) -> None:
    """Kill processes that a finished cell left in sessions of their own: they are our children now."""
    try:
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    except OSError:
        return  # not Linux: a group's kill must do
    for orphan in {int(pid) for pid in text.split()} - alive:
        try:
            os.kill(orphan, signal.SIGKILL)
            os.waitpid(orphan, 0)
        except (ProcessLookupError, ChildProcessError):
            continue  # it went by itself


def kill_group(pid: int) -> None:
    """Kill a child's whole group, as far as it is still there."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def become_subreaper() -> None:
    """On Linux: inherit what children of ours leave behind, so that it can be killed."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def receive_line(control: socket.socket) -> tuple[bytes, list[int]]:
    """A line and the descriptors that came with it; empty at the connection's end."""
    line, descriptors = b"", array.array("i")
    while not line.endswith(b"\n"):
        piece, ancillary, _, _ = control.recvmsg(4096, socket.CMSG_SPACE(3 * descriptors.itemsize))
        if not piece:
            return b"", []
        line += piece
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                whole = len(data) - len(data) % descriptors.itemsize
                descriptors.frombytes(data[:whole])
    return line, list(descriptors)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the engine
    serve_forks(sys.argv[1], int(sys.argv[2]))
