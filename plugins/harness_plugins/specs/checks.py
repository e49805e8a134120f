"""What a configuration may be: shared by the specs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def at_least(config: Mapping[str, Any], **least: float) -> str | None:
    """The first option that is below its least value, as a reason."""
    for key, value in least.items():
        if config[key] < value:
            return f"{key}={config[key]:g} must be at least {value:g}"
    return None
