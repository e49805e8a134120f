"""An external program for test_exec.py: uniform rows by the letter of docs/wire.md, or one thing wrong.

    python uniform.py [MODE]

It uses nothing of harness: a second hand's reading of the page.
"""

import array
import json
import math
import os
import signal
import struct
import subprocess
import sys
import time

MODE = sys.argv[1] if len(sys.argv) > 1 else "honest"
OUT, IN = sys.stdout.buffer, sys.stdin.buffer


def read():
    head = IN.read(16)
    if len(head) < 16:
        sys.exit(0)
    magic, header, payload = struct.unpack("<4sIQ", head)
    assert magic == b"nch1"
    return json.loads(IN.read(header)), IN.read(payload)


def write(message, payload=b""):
    header = json.dumps(message).encode()
    OUT.write(struct.pack("<4sIQ", b"nch1", len(header), len(payload)) + header + payload)
    OUT.flush()


def say(text, file=sys.stdout):
    file.write(text + "\n")
    file.flush()


def ok(**more):
    write({"ok": True, **more})


def rows(op, message, v):
    ((_, _, (b, t)),) = message["arrays"]
    shape = [b, t, v] if op == "log_probs" else [b, v]
    if MODE == "shape":
        shape[-1] -= 1
    value = math.nan if MODE == "nan" else -math.log(v)
    row = array.array("d", [value] * shape[-1])
    if MODE == "impossible":  # what is certain is token 1
        row = array.array("d", [-math.inf, 0.0] + [-math.inf] * (v - 2))
    write({"ok": True, "arrays": [["rows", "<f8", shape]]}, row.tobytes() * math.prod(shape[:-1]))


def before():
    """What it does instead of a hello."""
    if MODE == "version":
        write({"hello": 2})
    elif MODE == "nohello":
        ok()
    elif MODE == "banner":
        say("Hi")
        time.sleep(60)
    elif MODE == "silent":
        IN.read(1)
    elif MODE == "quits":
        sys.exit(4)
    else:
        write({"hello": 1})


def fit(v):
    """What it does when asked to fit."""
    if MODE == "prints":
        say("epoch 1: loss 2.3")
    elif MODE == "raises":
        raise ValueError("no such option")
    elif MODE == "exits":
        sys.exit(3)
    elif MODE == "segfaults":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif MODE == "hangs":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
    elif MODE == "allocates":
        _ = bytearray(8 * 2**30)
    elif MODE == "torn":
        OUT.write(struct.pack("<4sIQ", b"nch1", 100, 0) + b'{"ok":')
        OUT.flush()
        sys.exit(0)
    elif MODE == "oversized":
        OUT.write(struct.pack("<4sIQ", b"nch1", 100, 2**40))
        OUT.flush()
    elif MODE == "unreadable":
        OUT.write(struct.pack("<4sIQ", b"nch1", 6, 0) + b'{"ok":')
        OUT.flush()
    elif MODE == "short":
        write({"ok": True, "arrays": [["x", "<f8", [2]]]}, bytes(8))
    elif MODE == "untrained":
        write({"ok": True, "targets_consumed": -5})
    elif MODE == "noanswer":
        write({"done": True})
    elif MODE == "refuses":
        write({"error": "unsupported"})
    elif MODE == "error":
        write({"error": "ValueError", "text": "k must be positive"})
    elif MODE == "diverges":
        write({"error": "Diverged", "text": "loss is nan"})
    elif MODE == "leaves":
        subprocess.Popen([sys.executable, "-c", f"import time; '{os.environ['ROGUE_MARK']}'; time.sleep(60)"])
    elif MODE in ("checks", "impossible"):
        write({"progress": [10, 20], "scalars": {"loss": 2.5}})
        write({"checkpoint": True})
        while (message := read()[0])["op"] != "checked":
            rows(message["op"], message, v)
        say("checked " + json.dumps(message["nll"]), sys.stderr)
        ok(targets_consumed=10)
        return
    ok()


def serve():
    v = 0
    while True:
        message, _ = read()
        op = message["op"]
        if MODE == "logs":
            told = sorted(set(message) - {"op", "arrays"})
            say(json.dumps([op, told, message["arrays"]]), sys.stderr)
        if op == "bye":
            return
        if op == "open":
            v = message["vocabulary"]
        if op == "fit":
            fit(v)
        elif op == "log_probs" or (op == "next_log_probs" and MODE != "minimal"):
            rows(op, message, v)
        elif op == "sample" and MODE == "samples":
            tokens, lengths = array.array("q", [1, 2] * message["n"]), array.array("q", [2] * message["n"])
            arrays = [["tokens", "<i8", [len(tokens)]], ["lengths", "<i8", [len(lengths)]]]
            write({"ok": True, "arrays": arrays}, tokens.tobytes() + lengths.tobytes())
        elif op in ("open", "data", "new", "load", "params"):
            ok()
            if MODE == "twice" and op == "new":
                ok()
        else:
            write({"error": "unsupported"})


before()
serve()
