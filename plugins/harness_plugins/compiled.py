"""How the kernels of this package are compiled by numba, and where machine code is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from numba import config, njit

from harness import settings


def kernels() -> str:
    """A hash of the modules that hold kernels.

    numba compiles into a function what it calls, and looks at the file of the function alone to see whether
    its machine code is out of date.
    """
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        source = file.read_bytes()
        if __name__.encode() in source:
            digest.update(file.name.encode() + b"\0" + source)
    return digest.hexdigest()


# else it would be kept beside the sources
config.CACHE_DIR = str(Path(config.CACHE_DIR or settings.machine_code_dir()) / kernels()[:16])

Function = TypeVar("Function", bound=Callable[..., Any])
Decorator = Callable[[Function], Function]

# Sums may be reordered and fused; infinities and NaN keep their meaning, so that divergence is seen.
OPTIONS = {
    "cache": True,
    "fastmath": {"contract", "reassoc", "nsz", "arcp"},
    "error_model": "numpy",
    "nogil": True,
}

# Called from Python: a way in from C, which numba adds, is for nobody.
entry: Decorator[Any] = njit(**OPTIONS, no_cfunc_wrapper=True)
# What only kernels call needs no way in from Python, which takes longer to compile than the function itself.
# It is compiled again for every constant that it is called with: `np.bool_(True)` and `np.int64(0)` are none.
compiled: Decorator[Any] = njit(**OPTIONS, no_cpython_wrapper=True, no_cfunc_wrapper=True)
# Parts of one large function, each called once: LLVM would compile what they call again for each of them.
part: Decorator[Any] = njit(**OPTIONS, inline="always")
