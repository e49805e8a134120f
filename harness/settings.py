"""Where things are: folders and switches that the environment sets.

HARNESS_DATA_DIR     a folder that already holds the datasets' files; read before the cache
HARNESS_CACHE_DIR    where downloads are kept (default: the user's cache folder)
HARNESS_OFFLINE      1, true or yes: never download
HARNESS_RESULTS      the folder of runs (default: `results` in the working directory)
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def data_dir() -> Path | None:
    """The folder of `HARNESS_DATA_DIR`, where it is set."""
    value = os.environ.get("HARNESS_DATA_DIR")
    return Path(value).expanduser() if value else None


def cache_dir() -> Path:
    """Where downloads are kept."""
    value = os.environ.get("HARNESS_CACHE_DIR")
    return Path(value).expanduser() if value else Path(platformdirs.user_cache_dir("harness"))


def offline() -> bool:
    """Whether downloads are forbidden."""
    return os.environ.get("HARNESS_OFFLINE", "").strip().lower() in ("1", "true", "yes", "on")


def results_dir() -> Path:
    """The folder of runs."""
    return Path(os.environ.get("HARNESS_RESULTS") or "results")
