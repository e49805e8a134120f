"""Models that misbehave as processes, one way each: a plugin file for test_cells.py and the gallery."""

import ctypes
import os
import signal
import subprocess
import sys
import time

import numpy as np

from harness import Model, ModelSpec, hookimpl


class Fine(Model):
    """Uniform rows: what a rogue does before and after."""

    def fit(self, train, dev, trial):
        self.misbehave()

    def misbehave(self):
        """Nothing."""

    def log_probs(self, inputs):
        return np.full((*inputs.shape, self.vocab_size), -np.log(self.vocab_size))


class Raises(Fine):
    """Its fit raises."""

    def misbehave(self):
        raise KeyError("no such thing")


class Exits(Fine):
    """Ends its process with `os._exit`."""

    def misbehave(self):
        os._exit(7)


class Segfaults(Fine):
    """Reads at address 0."""

    def misbehave(self):
        ctypes.string_at(0)


class Hangs(Fine):
    """Never comes back."""

    def misbehave(self):
        time.sleep(3600)


class HangsHard(Fine):
    """Never comes back, and ignores TERM."""

    def misbehave(self):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(3600)


class Forks(Fine):
    """Leaves two processes, one in a session of its own."""

    def misbehave(self):
        sleeper = [sys.executable, "-c", f"import time; '{os.environ['ROGUE_MARK']}'; time.sleep(3600)"]
        subprocess.Popen(sleeper)
        subprocess.Popen(sleeper, start_new_session=True)


class Allocates(Fine):
    """Asks for 8 GiB where it may have 2."""

    def misbehave(self):
        np.ones(2**30)  # 8 GiB


class Prints(Fine):
    """Writes 100 MB to stdout."""

    def misbehave(self):
        for _ in range(100):
            sys.stdout.write("x" * 2**20)
        sys.stderr.write("the end\n")


class Garbles(Fine):
    """Writes into every connection that it finds, the harness's own too."""

    def misbehave(self):
        for number in range(3, 64):
            try:
                os.write(number, b"who reads this?" * 10)
            except OSError:
                continue  # not open, or not to be written to


class WrongShape(Fine):
    """Rows without the last character."""

    def log_probs(self, inputs):
        return super().log_probs(inputs)[..., :-1]


class WrongType(Fine):
    """Rows in float16."""

    def log_probs(self, inputs):
        return super().log_probs(inputs).astype(np.float16)


class NotAnArray(Fine):
    """Rows as lists."""

    def log_probs(self, inputs):
        return super().log_probs(inputs).tolist()


class Closes(Fine):
    """Closes every descriptor, then never comes back."""

    def misbehave(self):
        os.closerange(0, 256)
        time.sleep(3600)


class DiesLater(Fine):
    """Its process is killed when it is scored."""

    def next_log_probs(self, inputs):
        os.kill(os.getpid(), signal.SIGKILL)


ROGUES = (
    Fine,
    Raises,
    Exits,
    Segfaults,
    Hangs,
    HangsHard,
    Forks,
    Allocates,
    Prints,
    Garbles,
    WrongShape,
    WrongType,
    NotAnArray,
    Closes,
    DiesLater,
)


@hookimpl
def harness_models():
    return [ModelSpec(kind.__name__.lower(), {"numpy": kind}) for kind in ROGUES]
