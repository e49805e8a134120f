"""Where the machine code of kernels is kept, and when it is out of date."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import harness_plugins


def run(code: str, cache: Path, given: Path | None = None, first: Path | None = None) -> str:
    """What some code prints in an interpreter with these caches; first: on its path."""
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    environment["HARNESS_CACHE_DIR"] = str(cache)
    if given:
        environment["NUMBA_CACHE_DIR"] = str(given)
    path = f"import sys; sys.path.insert(0, {str(first)!r})\n" if first else ""
    done = subprocess.run(
        [sys.executable, "-c", path + code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("given", [None, "mine"])
def test_machine_code_is_kept_in_the_cache_folder(given: str | None, tmp_path: Path) -> None:
    """In HARNESS_CACHE_DIR, not beside the sources, unless NUMBA_CACHE_DIR says where."""
    code = (
        "from harness_plugins.mlp_kernels import descend\n"
        "print(descend._cache._impl.locator.get_cache_path())"
    )
    found = run(code, tmp_path / "cache", tmp_path / given if given else None)
    assert Path(found).is_relative_to(tmp_path / (given or "cache/numba"))


def test_a_changed_kernel_is_compiled_into_those_that_call_it(tmp_path: Path) -> None:
    """Though their own files are as they were: numba looks at these alone."""
    package = tmp_path / "harness_plugins"
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.copy(Path(harness_plugins.__path__[0]) / "compiled.py", package)
    decorated = "from harness_plugins.compiled import compiled, entry\n"
    (package / "calls.py").write_text(
        decorated + "from harness_plugins.called import inner\n@entry\ndef outer(x): return inner(x)\n"
    )
    code = "from harness_plugins.calls import outer\nprint(outer(1), sum(outer.stats.cache_hits.values()))"
    found = []
    for added in (1, 1, 2):
        (package / "called.py").write_text(decorated + f"@compiled\ndef inner(x): return x + {added}\n")
        found.append(run(code, tmp_path / "cache", first=tmp_path))
    assert found == ["2 0", "2 1", "3 0"]
