"""How the kernels of this package are compiled by numba, and where machine code is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import config, njit

from harness import settings

if not config.CACHE_DIR:  # else it would be kept beside the sources
    config.CACHE_DIR = str(settings.machine_code_dir())

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
