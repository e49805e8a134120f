"""Seeds by name: the same words give the same seed on every machine, whatever else is run."""

from __future__ import annotations

import hashlib
import random
import sys
from typing import Any

import numpy as np


def derive(*names: object) -> int:
    """A seed in [0, 2**63) from a sequence of names, by SHA-256 of their texts.

    Numbers and strings of the same text are the same name. The separator cannot stand in a name by
    accident: each text is preceded by its length.
    """
    digest = hashlib.sha256()
    for name in names:
        text = str(name).encode("utf-8", "surrogatepass")
        digest.update(len(text).to_bytes(8, "little") + text)
    return int.from_bytes(digest.digest()[:8], "little") >> 1


def seed_everything(seed: int) -> None:
    """Seed the global generators that a plugin may use; torch only where it is loaded."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)
