"""The built wheel, alone: what a user installs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignore = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", "*.jsonl*")
    shutil.copytree(ROOT, source, ignore=ignore)
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(folder),
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    """Packages, types, names and metadata are in; tests, docs and results are not."""
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"harness", "harness_plugins", "harness_datasets", "nextchar_harness-0.1.0.dist-info"}
    for package in ("harness", "harness_plugins", "harness_datasets"):
        assert f"{package}/py.typed" in names
    suites = sorted((ROOT / "harness/suites").glob("*.toml"))
    assert suites
    assert {f"harness/suites/{file.name}" for file in suites} <= set(names)
    template = sorted((ROOT / "harness/template").rglob("*.tmpl"))
    assert len(template) > 10
    assert {file.relative_to(ROOT).as_posix() for file in template} <= set(names)
    assert {"harness/page/page.css", "harness/page/page.js"} <= set(names)
    languages = sorted((ROOT / "datasets/harness_datasets/names").glob("*.txt"))
    assert {f"harness_datasets/names/{file.name}" for file in languages} <= set(names)
    assert not any("makemore-names" in name or "shakespeare" in name for name in names)


def test_the_wheel_runs_without_its_sources(wheel: Path, tmp_path: Path) -> None:
    """Installed into an empty folder, far from the checkout, it lists and runs its models."""
    target = tmp_path / "target"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        str(target),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(target)}
    where = subprocess.run(
        [
            sys.executable,
            "-c",
            "import harness, harness_plugins; print(harness.__file__, harness_plugins.__file__)",
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert where.count(str(target)) == 2
    run = subprocess.run(
        [sys.executable, "-m", "harness", "run", "--models", "uniform,count-bigram"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "count-bigram" in run.stdout
