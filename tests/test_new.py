"""`harness new`: what it writes is a package that installs, passes its own tests and has a row."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name, is_normalized_name

from harness import registry, scaffold
from harness.cli import main

ROOT = Path(__file__).resolve().parents[1]
NAMES = {"numpy": "counted-pairs", "window": "blended-counts", "torch": "small-net"}


# ---- names

LEGAL = ["my-model", "a", "gpt2", "my_model", "my.model", "n-gram-5"]


@pytest.mark.parametrize("name", LEGAL)
def test_a_legal_name_names_a_model_a_distribution_and_a_module(name: str) -> None:
    """The registry, pip and Python take it, each in its form."""
    assert scaffold.legal(name)
    assert registry.NAME.fullmatch(name)
    assert is_normalized_name(canonicalize_name(name, validate=True))
    assert scaffold.package_of(name).isidentifier()


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("My Model", "my-model"),
        ("MLP++", "mlp"),
        ("2-gram", "model-2-gram"),
        ("class", "model-class"),
        ("größe", "grosse"),
        ("naïve!", "naive"),
        ("-x-", "x"),
        ("../evil", "evil"),
        ("a/b", "a-b"),
        ("$(rm)", "rm"),
        ("", "my-model"),
        ("名前", "my-model"),
    ],
)
def test_an_illegal_name_is_refused_with_the_nearest_legal_one(
    name: str, nearest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, one line, nothing written; what is suggested would be taken."""
    assert main(["new", "--", name]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"; {nearest} can" in err
    assert scaffold.legal(nearest)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("name", ["mlp", "uniform"])
def test_the_name_of_a_registered_model_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Two models of one name could not stand in one table."""
    assert main(["new", name]) == 2
    assert f"a model '{name}' is registered already" in capsys.readouterr().err
    assert not Path(name).exists()


@pytest.mark.parametrize("name", ["numpy", "json", "harness-plugins"])
def test_a_name_that_would_hide_a_module_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A package called numpy would stand before the real one."""
    assert main(["new", name]) == 2
    assert f"a module {name.replace('-', '_')} is installed already" in capsys.readouterr().err


@pytest.mark.parametrize("full", ["folder", "file"])
def test_a_folder_that_is_not_empty_is_refused(full: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody's files are overwritten, nor mixed with ours."""
    place = Path("place")
    if full == "folder":
        place.mkdir()
        (place / "mine.txt").write_text("mine")
    else:
        place.write_text("mine")
    assert main(["new", "my-model", "--into", "place"]) == 2
    assert "place is there and not empty: name another folder with --into" in capsys.readouterr().err
    assert [path.name for path in Path().rglob("*") if path.is_file()] in (["mine.txt"], ["place"])


def test_a_folder_below_a_file_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The option is named, and what the system says."""
    Path("file").write_text("mine")
    assert main(["new", "my-model", "--into", "file/below"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "--into file/below" in err


@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk_leaves_nothing(
    there: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The third file does not fit: one line, exit 6, and the folder is as it was, empty or not there."""
    if there:
        Path("mine").mkdir()
    write, sizes = Path.write_text, iter((1, 1, 0))

    def full(self: Path, text: str, **how: Any) -> int:
        if not next(sizes):
            write(self, text[:10], **how)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, text, **how)

    monkeypatch.setattr(Path, "write_text", full)
    assert main(["new", "my-model", "--into", "mine"]) == 6
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "No space left" in err
    assert list(Path().rglob("*")) == ([Path("mine")] if there else [])


# ---- what is written


@pytest.mark.parametrize("kind", scaffold.KINDS)
def test_the_package_has_all_that_a_package_needs(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Sources, tests, README, licence, workflow; the files are printed, and what to do next."""
    Path("place").mkdir()  # an empty folder will do
    assert main(["new", "my-model", "--backend", kind, "--into", "place"]) == 0
    written = {path.relative_to("place").as_posix() for path in Path("place").rglob("*") if path.is_file()}
    assert written == {
        ".github/workflows/ci.yml", ".gitignore", "LICENSE", "README.md", "pyproject.toml",
        "src/my_model/__init__.py", "src/my_model/model.py", "src/my_model/py.typed",
        "tests/test_contract.py",
    }  # fmt: skip
    shown, _, advice = capsys.readouterr().out.partition("\n\n")
    assert {line.removeprefix("place/") for line in shown.splitlines()} == written
    assert advice.splitlines() == [
        "pip install -e './place[test]'",
        "pytest ./place",
        "harness run --models my-model,count-bigram",
    ]


@pytest.mark.parametrize("kind", scaffold.KINDS)
def test_no_word_of_the_template_is_left(kind: str) -> None:
    """Each `$word` is filled in; what stays are the expressions of the workflow."""
    for path, text in scaffold.files("my-model", kind, "1.2.3"):
        assert re.findall(r"\$(?!\{\{ matrix)", text) == [], path
        assert "my-model" in text or path.name in (".gitignore", "model.py", "py.typed"), path


def test_the_project_names_what_it_needs() -> None:
    """The entry point of the group, the harness that wrote it as the oldest, torch where it is used."""
    found = {}
    for kind in scaffold.KINDS:
        texts = {path.as_posix(): text for path, text in scaffold.files("my-model", kind, "1.2.3")}
        project = tomllib.loads(texts["pyproject.toml"])["project"]
        assert project["entry-points"] == {registry.GROUP: {"my_model": "my_model"}}
        found[kind] = project["dependencies"]
    plain = ["nextchar-harness>=1.2.3"]
    assert found == {"numpy": plain, "window": plain, "torch": ["nextchar-harness[torch]>=1.2.3"]}


def test_the_workflow_installs_tests_and_runs() -> None:
    """In this order, and from no index but the one that the machine is set to."""
    for kind in scaffold.KINDS:
        texts = {path.as_posix(): text for path, text in scaffold.files("my-model", kind, "1.2.3")}
        assert re.findall(r"- run: (.*)", texts[".github/workflows/ci.yml"]) == [
            "pip install -e '.[test]'",
            "python -m pytest",
            "harness run --models my-model,count-bigram",
        ]


# ---- what it does


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package of each kind."""
    folder = tmp_path_factory.mktemp("packages")
    for kind, name in NAMES.items():
        scaffold.write(name, kind, folder / name, "0.1.0")
    return folder


@pytest.fixture(scope="module")
def fresh(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment that has the packages, and sees what is installed here.

    Without network. Dependencies from an index are left to the command that `harness new` prints.
    """
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, system_site_packages=True, with_pip=False)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    inside = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    here = sysconfig.get_path("purelib")  # of another environment, which is no "system" for the new one
    (Path(inside) / "here.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-index"]
    install += ["--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    done = subprocess.run(
        [*install, *(str(packages / name) for name in NAMES.values())], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return python


def command(python: Path, *words: str, cwd: Path | None = None) -> str:
    """What `python -m …` prints; it must end with 0."""
    done = subprocess.run([python, "-m", *words], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_installed_package_is_a_plugin(fresh: Path) -> None:
    """`harness list plugins` has a line for each, without an error."""
    rows = json.loads(command(fresh, "harness", "list", "plugins", "--json"))
    found = {row["models"]: (row["distribution"], row["state"]) for row in rows}
    for name in NAMES.values():
        assert found[name] == (f"{name} 0.1.0", "ok")


def test_an_installed_package_has_its_row(fresh: Path) -> None:
    """`harness run --models NAME` scores each; those that look further back are ahead of the pairs."""
    pytest.importorskip("torch")
    names, quickly = ",".join(NAMES.values()), ("--budget", "300steps", "--in-process", "--json")
    rows = json.loads(command(fresh, "harness", "run", "--models", names, *quickly))
    nll = {row["model"]: row["metrics"]["test_nll"] for row in rows["records"] if row["status"] == "ok"}
    assert set(nll) == set(NAMES.values())
    assert nll["counted-pairs"] == pytest.approx(2.5677, abs=5e-5)  # that of count-bigram, in the README
    assert max(nll["blended-counts"], nll["small-net"]) < 2.5


@pytest.mark.parametrize("kind", NAMES)
def test_its_own_tests_pass(kind: str, packages: Path, fresh: Path) -> None:
    """Every check of the audit, by name, in the environment where it is installed."""
    if kind == "torch":
        pytest.importorskip("torch")
    said = command(fresh, "pytest", "-q", "-p", "no:cacheprovider", str(packages / NAMES[kind]), cwd=packages)
    assert re.search(r"\d+ passed", said)


@pytest.mark.parametrize("linter", [["check"], ["format", "--check"]], ids=["check", "format"])
def test_its_linters_are_clean(linter: list[str], packages: Path) -> None:
    """ruff has nothing to say, by each package's own configuration."""
    for name in NAMES.values():
        words = [sys.executable, "-m", "ruff", *linter, "."]
        done = subprocess.run(words, cwd=packages / name, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_its_types_are_clean(packages: Path) -> None:
    """mypy, strict; what it knows of numpy and torch from our own check is used again."""
    words = [sys.executable, "-m", "mypy", "--cache-dir", str(ROOT / ".mypy_cache"), "--config-file"]
    words += [f"{NAMES['numpy']}/pyproject.toml", f"{NAMES['numpy']}/tests"]
    words += [f"{name}/src" for name in NAMES.values()]
    done = subprocess.run(words, cwd=packages, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 source files" in done.stdout
