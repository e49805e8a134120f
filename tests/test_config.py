"""Settings without flags: who goes first, what a mistake says, and what a shell is offered."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness import registry, settings, split
from harness.cli import COMPLETE, VERBS, completion, defaults, main, verb_command
from harness.errors import UsageError

DOCS = Path(__file__).parents[1] / "docs" / "configuration.md"
HEAVY = {"numpy", "rich", "torch", "scipy", "pluggy", "harness_plugins", "harness_datasets"}


@pytest.fixture(autouse=True)
def bare(alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the developer's own, but for the cache and the network that `alone` sets."""
    for name in os.environ:
        if name.startswith("HARNESS_") and name not in ("HARNESS_CACHE_DIR", "HARNESS_OFFLINE"):
            monkeypatch.delenv(name)


def shown(capsys: pytest.CaptureFixture[str], key: str, verb: str = "run") -> tuple[Any, str]:
    """Value and origin of a setting, as `harness config show --json` says."""
    assert main(["config", "show", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["settings"]
    (row,) = (row for row in rows if row["setting"] == key and verb in row["verbs"])
    return row["value"], row["from"]


def cells(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The cells that `harness run` would run."""
    assert main(["run", "--dry-run", *arguments]) == 0
    return [re.split("  +", line)[0] for line in capsys.readouterr().out.splitlines()[2:]]


# ---- who goes first


@pytest.mark.parametrize("level", range(6))
def test_the_first_level_that_is_set_counts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, level: int
) -> None:
    """Flag, HARNESS_RUN_SEEDS, HARNESS_SEEDS, [run] seeds, seeds, default: each beats all below it."""
    file = Path("harness.toml").resolve()
    if level <= 1:
        monkeypatch.setenv("HARNESS_RUN_SEEDS", "5")
    if level <= 2:
        monkeypatch.setenv("HARNESS_SEEDS", "4")
    top = "seeds = 2\n" if level <= 4 else ""
    file.write_text(top + ("[run]\nseeds = 3\n" if level <= 3 else ""))
    expected = 6 - level
    flag = ["--seeds", "6"] if level == 0 else []
    assert len(cells(capsys, "--models", "mlp", *flag)) == expected
    origins = ["HARNESS_RUN_SEEDS", "HARNESS_SEEDS", f"{file}: run.seeds", f"{file}: seeds", "default"]
    if level:
        assert shown(capsys, "seeds") == (expected, origins[level - 1])


def test_the_nearest_file_counts_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Upwards from the working directory; harness.toml before pyproject.toml; others are passed."""
    top, deep = Path.cwd(), Path("a/b").resolve()
    deep.mkdir(parents=True)
    (top / "pyproject.toml").write_text("[tool.harness]\nseeds = 2\njobs = 2\n")
    (top / "a" / "pyproject.toml").write_text("[tool.other]\nseeds = 9\n")
    monkeypatch.chdir(deep)
    assert shown(capsys, "seeds") == (2, f"{top}/pyproject.toml: tool.harness.seeds")
    (top / "harness.toml").write_text("seeds = 3\n")
    assert shown(capsys, "seeds") == (3, f"{top}/harness.toml: seeds")
    assert shown(capsys, "jobs") == (1, "default")
    (top / "a" / "pyproject.toml").write_text("[tool.harness.run]\nseeds = 4\n")
    assert shown(capsys, "seeds") == (4, f"{top}/a/pyproject.toml: tool.harness.run.seeds")


def test_values_reach_the_verb_in_their_types(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list and a single item of a repeatable option, a switch, a choice; dashes or underscores."""
    Path("harness.toml").write_text(
        'models = ["uniform", "count-bigram:k=0/1"]\ndataset = "markov"\nsplit = "all"\nin_process = true\n'
        '[run]\ndry-run = true\ndevice = "cpu"\n[sample]\ntemperature = 1\n'
    )
    assert main(["run"]) == 0
    rows = [re.split("  +", line) for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0].partition("@")[0] for row in rows] == ["uniform", "count-bigram", "count-bigram"]
    assert {(row[1].partition(":")[0], row[2]) for row in rows} == {("markov", "all")}
    assert shown(capsys, "in_process")[0] is True
    assert shown(capsys, "temperature", "sample")[0] == 1.0
    monkeypatch.setenv("HARNESS_MODELS", "uniform,nn-bigram")
    assert cells(capsys) == ["uniform@numpy", "nn-bigram@numpy"]
    monkeypatch.setenv("HARNESS_RUN_MODELS", "uniform nn-bigram:l2=0")
    assert len(cells(capsys)) == 2
    monkeypatch.setenv("HARNESS_RUN_MODELS", "")  # as if it were not set
    Path("harness.toml").write_text('models = "count-bigram"\n')
    monkeypatch.delenv("HARNESS_MODELS")
    assert cells(capsys) == ["count-bigram@numpy"]


def test_a_variable_switches_off_what_the_file_switches_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no flag for that."""
    Path("harness.toml").write_text("json = true\n")
    assert main(["list", "models"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), list)
    monkeypatch.setenv("HARNESS_JSON", "0")
    assert main(["list", "models"]) == 0
    assert capsys.readouterr().out.startswith("model ")


def test_a_group_of_commands_has_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    """`[data]` holds for `harness data describe`, which knows --json, and `fetch`, which does not."""
    Path("harness.toml").write_text("[data]\njson = true\n")
    assert main(["data", "describe", "names"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "names"
    assert main(["data", "fetch", "names"]) == 0


def test_paths_start_from_the_folder_of_the_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """results, plugin, `file:` and cache_dir, seen from a folder below; absolute paths and ~ stay."""
    root, below = Path.cwd(), Path("below").resolve()
    below.mkdir()
    Path("few.txt").write_text("ab\nba\n" * 20)
    Path("mine.py").write_text(
        "import numpy as np\nfrom harness import Model, ModelSpec, hookimpl\n"
        "class Even(Model):\n    def fit(self, train, dev, trial): ...\n"
        "    def log_probs(self, x): return np.full((*x.shape, self.vocab_size), -np.log(self.vocab_size))\n"
        "@hookimpl\ndef harness_models(): return ModelSpec('even', {'numpy': Even})\n"
    )
    Path("harness.toml").write_text(
        'results = "runs"\nplugin = ["mine.py"]\nmodels = "even"\ndataset = "file:few.txt"\n'
        f'split = "all"\nin-process = true\noutput = "{tmp_path / "copy.jsonl"}"\ncache_dir = "~/kept"\n'
    )
    monkeypatch.setattr(registry, "probe", lambda path: None)  # test_registry has the guard
    monkeypatch.chdir(below)
    assert main(["run"]) == 0
    assert len(list((root / "runs").glob("*.jsonl"))) == 1
    assert (tmp_path / "copy.jsonl").is_file()
    assert not Path("results").exists()
    assert settings.results_dir() == Path("../runs")
    monkeypatch.delenv("HARNESS_CACHE_DIR")
    assert settings.cache_dir() == Path.home() / "kept"
    monkeypatch.chdir(root)
    capsys.readouterr()
    assert shown(capsys, "dataset")[0] == "file:few.txt"  # as a flag would say it: seeds derive from it
    assert shown(capsys, "output")[0] == str(tmp_path / "copy.jsonl")


@pytest.mark.parametrize(
    ("key", "variable", "text", "toml", "from_variable", "from_file", "default"),
    [
        ("data_dir", "HARNESS_DATA_DIR", "there", '"here"', Path("there"), Path("here"), None),
        ("results", "HARNESS_RESULTS", "there", '"here"', Path("there"), Path("here"), Path("results")),
        ("offline", "HARNESS_OFFLINE", "no", "true", False, True, False),
        ("offline", "HARNESS_OFFLINE", "Yes", "false", True, False, False),
    ],
)
def test_folders_and_switches_of_old_may_stand_in_the_file(
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    variable: str,
    text: str,
    toml: str,
    from_variable: object,
    from_file: object,
    default: object,
) -> None:
    """The variable, else the file, else the default; also for who uses `harness.settings` in Python."""
    monkeypatch.setenv(variable, text)
    Path("harness.toml").write_text(f"{key} = {toml}\n")
    assert settings.look_up(key) == (from_variable, variable)
    monkeypatch.setenv(variable, "")
    assert settings.look_up(key) == (from_file, f"{Path.cwd()}/harness.toml: {key}")
    Path("harness.toml").unlink()
    assert settings.look_up(key) == (default, "default")


def test_the_verb_s_own_results_go_before_the_file_and_after_the_variable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """HARNESS_RUN_RESULTS, HARNESS_RESULTS, [run] results, results: read by click and by settings alike."""
    Path("harness.toml").write_text('results = "top"\n[run]\nresults = "table"\n')
    assert shown(capsys, "results", "run")[0] == "table"
    assert shown(capsys, "results", "show")[0] == "top"
    for variable, folder in (("HARNESS_RESULTS", "short"), ("HARNESS_RUN_RESULTS", "long")):
        monkeypatch.setenv(variable, folder)
        assert shown(capsys, "results", "run") == (folder, variable)
        assert main(["run", "--models", "uniform", "--in-process"]) == 0
        assert len(list(Path(folder).glob("*.jsonl"))) == 1
        capsys.readouterr()
    assert main(["show"]) == 0  # that of HARNESS_RESULTS
    assert not Path("table").exists()


def test_no_two_settings_share_a_variable() -> None:
    """HARNESS_ + verb + key and HARNESS_ + key never mean two things, nor does --complete's own."""
    long = [settings.variable(verb, key) for verb in VERBS for key in defaults.options_of(verb_command(verb))]
    short = [settings.variable(key) for key in {*defaults.keys(), *settings.DEFAULTS}]
    assert [name for name, count in Counter(long + short).items() if count > 1] == []


# ---- mistakes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('modles = "mlp"', "unknown key 'modles' in FILE; did you mean 'models'?"),
        ("[run]\nseds = 1", "unknown key 'seds' of [run] in FILE; did you mean 'seeds'?"),
        ("[rnu]\nseeds = 1", "unknown table 'rnu' in FILE; did you mean 'run'?"),
        ("[run]\noffline = true", "unknown key 'offline' of [run] in FILE; "),
        ('seeds = "3"', 'FILE: seeds must be an integer, not "3"'),
        ("seeds = true", "FILE: seeds must be an integer, not true"),
        ("seeds = 1.0", "FILE: seeds must be an integer, not 1.0"),
        ("[run]\nseeds = 0", "FILE: run.seeds: 0 is not in the range"),
        ('device = "cud"', "FILE: device: 'cud' is not one of 'cpu', 'cuda'"),
        ("dry-run = 1", "FILE: dry_run must be true or false, not 1"),
        ("budget = 30", "FILE: budget must be a string, not 30"),
        ('dataset = ["names"]', 'FILE: dataset must be a string, not ["names"]'),
        ("models = [1]", "FILE: models must be a string, not 1"),
        ("models = 2020-01-01", 'FILE: models must be a string, not "2020-01-01"'),
        ('offline = "yes"', 'FILE: offline must be true or false, not "yes"'),
        ("data-dir = 3", "FILE: data_dir must be a string, not 3"),
        ("jobs = 1\n[run]\ndry-run = true\ndry_run = true", "FILE sets 'dry_run' twice"),
        ("dataset = ", "FILE is not TOML: Invalid value"),
        ("seeds = 1\nseeds = 2", "FILE is not TOML: Cannot overwrite a value"),
        ("dataset = '\udcff'", "FILE is not TOML: 'utf-8' codec can't decode byte 0xff"),
    ],
)
@pytest.mark.parametrize("command", [["run", "--models", "uniform"], ["config", "show"]], ids=" ".join)
def test_a_mistake_in_the_file_is_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    said: str,
    command: list[str],
) -> None:
    """Exit 2; the line names the file, the key and the nearest key; nothing runs."""
    monkeypatch.delenv("HARNESS_OFFLINE")
    Path("harness.toml").write_bytes(text.encode(errors="surrogateescape"))
    assert main(command) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"harness: [^\n]+\n", printed.err)
    assert printed.err.startswith("harness: " + said.replace("FILE", str(Path("harness.toml").resolve())))
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool]\nharness = 3", "FILE: [tool.harness] must be a table, not 3"),
        ("[tool.harness]\nmodles = 1", "unknown key 'modles' in FILE; did you mean 'models'?"),
        (
            "[tool.harness.run]\nseds = 1",
            "unknown key 'seds' of [tool.harness.run] in FILE; did you mean 'seeds'?",
        ),
        (
            "[tool.harness.rnu]\n",
            "unknown table 'tool.harness.rnu' in FILE; did you mean 'tool.harness.run'?",
        ),
        ("[tool.harness.run]\nseeds = []", "FILE: tool.harness.run.seeds must be an integer, not []"),
        ("tool = ", "FILE is not TOML: "),
    ],
)
def test_a_mistake_in_pyproject_is_named_in_full(
    capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    """Keys and tables are written as they stand there."""
    Path("pyproject.toml").write_text(text)
    assert main(["run", "--models", "uniform"]) == 2
    assert capsys.readouterr().err.startswith(
        "harness: " + said.replace("FILE", str(Path("pyproject.toml").resolve()))
    )


def test_a_file_that_cannot_be_read_is_named() -> None:
    """What the system refuses is no reason to go on with other settings."""
    Path("folder.toml").mkdir()
    with pytest.raises(UsageError, match=r"^folder\.toml cannot be read: "):
        settings.read(Path("folder.toml"))


def test_help_and_completion_need_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    """With a broken file `run --help` shows the plain defaults, and a shell can still load its script."""
    assert main(["run", "--help"]) == 0
    before = capsys.readouterr().out
    for text in ("broken", "seeds = 7\n"):
        Path("harness.toml").write_text(text)
        assert main(["run", "--help"]) == 0
        assert capsys.readouterr().out == before
        assert main(["completion", "zsh"]) == 0
        capsys.readouterr()


def test_a_bad_value_is_traced_to_its_variable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What click refuses and what the verb refuses names the variable or the file's key, not the flag."""
    monkeypatch.setenv("HARNESS_SEEDS", "many")
    for command in (["run"], ["config", "show"]):
        assert main(command) == 2
        assert capsys.readouterr().err.startswith("harness: HARNESS_SEEDS: 'many' is not a valid integer")
    monkeypatch.setenv("HARNESS_SEEDS", "1")
    monkeypatch.setenv("HARNESS_DATASET", "nmes")
    assert main(["run"]) == 2
    said = "harness: unknown dataset 'nmes'; did you mean 'names'?"
    assert capsys.readouterr().err == f"{said} (HARNESS_DATASET)\n"
    assert main(["run", "--dataset", "nmes"]) == 2  # the flag's fault
    assert capsys.readouterr().err == f"{said}\n"
    monkeypatch.delenv("HARNESS_DATASET")
    Path("harness.toml").write_text('[run]\nmodels = ["uniform", "mpl"]\n')
    assert main(["run"]) == 2
    file = Path("harness.toml").resolve()
    assert capsys.readouterr().err == (
        f"harness: unknown model 'mpl'; did you mean 'mlp'? ({file}: run.models)\n"
    )


def test_a_misspelt_variable_is_noticed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`config show` warns of what is nearly ours, and of nothing else."""
    monkeypatch.setenv("HARNESS_MODLES", "mlp")
    monkeypatch.setenv("HARNESS_ACCOUNT_ID", "another program's")
    assert main(["config", "show"]) == 0
    assert capsys.readouterr().err == (
        "harness: warning: HARNESS_MODLES sets nothing; did you mean HARNESS_MODELS?\n"
    )


# ---- config show, and the docs


def test_show_has_a_row_a_setting(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every key of every verb, with value and origin; more rows and the verbs' names where they differ."""
    assert main(["config", "show", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["file"] is None
    found = {(row["setting"], verb) for row in document["settings"] for verb in row["verbs"]}
    for verb in VERBS:
        assert {key for key, of in found if of == verb} == {
            *defaults.options_of(verb_command(verb)),
            "data_dir",
            "cache_dir",
            "offline",
        }
    Path("harness.toml").write_text('[show]\nresults = "old"\n')
    monkeypatch.setenv("HARNESS_MODELS", "mlp,uniform")
    assert main(["config", "show"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [re.split("  +", line) for line in lines]
    file = Path("harness.toml").resolve()
    assert ["models", "mlp,uniform", "HARNESS_MODELS"] in rows
    assert ["results", "show", "old", f"{file}: show.results"] in rows
    assert [row[-2:] for row in rows if row[0] == "results" and "run" in row[1]] == [["results", "default"]]
    assert ["budget", "–", "default"] in rows
    assert lines[-1] == f"file: {file}"


def test_the_docs_have_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    """The table of docs/configuration.md is what `harness config keys` prints: paste it there."""
    assert main(["config", "keys"]) == 0
    table = capsys.readouterr().out
    assert f"<!-- generated: harness config keys -->\n{table}" in DOCS.read_text(encoding="utf-8")


def test_the_file_of_the_docs_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    """Every key of the example is in force, and the run it describes can be planned."""
    text = DOCS.read_text(encoding="utf-8")
    block = re.search(r"<!-- file: harness.toml -->\n```toml\n(.*?)```", text, re.DOTALL)
    assert block
    Path("harness.toml").write_text(block[1])
    for key, value in tomllib.loads(block[1]).items():
        table = value if isinstance(value, dict) else {key: value}
        for inner, expected in table.items():
            assert shown(capsys, inner, key if isinstance(value, dict) else "run")[0] == expected
    assert Counter(cell.partition("@")[0] for cell in cells(capsys))["mlp"] == 3 * 5


# ---- completion


def offered(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str, shell: str = "bash"
) -> list[str]:
    """What a shell is offered for the last of these words."""
    with monkeypatch.context() as environment:
        environment.setenv(COMPLETE, f"{shell}_complete")
        environment.setenv("COMP_WORDS", " ".join(["harness", *words]))
        environment.setenv("COMP_CWORD", words[-1] if shell == "fish" else str(len(words)))
        assert main([]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    return lines[1::3] if shell == "zsh" else [line.partition(",")[2].rstrip() for line in lines]


@pytest.fixture
def remembered(capsys: pytest.CaptureFixture[str]) -> None:
    """The names of the built-in plugins are in the cache."""
    assert main(["list", "models"]) == 0
    capsys.readouterr()


MLP = registry.discover().models["mlp"]


@pytest.mark.usefixtures("remembered")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["r"], ["run", "report"]),
        (["run", "--dry"], ["--dry-run"]),
        (["list", "m"], ["models"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["run", "--models", "ml"], ["mlp"]),
        (["run", "--models", "al"], ["all"]),
        (["run", "--models", "uniform,ml"], ["uniform,mlp"]),
        (["run", "--models=uniform,ml"], ["uniform,mlp"]),
        (["run", "--models", "mlp@"], [f"mlp@{backend}" for backend in MLP.backends]),
        (["run", "--models", "mlp@nump"], ["mlp@numpy"]),
        (["run", "--models", "all@t"], ["all@torch"]),
        (["run", "--models", "mlp:"], [f"mlp:{key}=" for key in (*MLP.config, "preset")]),
        (["run", "--models", "mlp@torch:hid"], ["mlp@torch:hidden="]),
        (["run", "--models", "mlp:context=8,hid"], ["mlp:context=8,hidden="]),
        (["run", "--models", "mlp:context=8,hidden=3,uni"], ["mlp:context=8,hidden=3,uniform"]),
        (["run", "--models", "mlp:preset="], [f"mlp:preset={preset}" for preset in MLP.presets]),
        (["run", "--models", "mlp:hidden=3,init=n"], ["mlp:hidden=3,init=normal"]),
        (["run", "--models", "mlp:init=scaled/n"], ["mlp:init=scaled/normal"]),
        (["run", "--models", "uniform,k"], []),
        (["run", "--models", "mixture:of=mlp+m"], []),
        (["run", "--models", "'mixture:of=mlp(hid"], []),
        (["run", "--models", "nobody:"], []),
        (["run", "--dataset", "ma"], ["makemore-names", "markov"]),
        (["run", "--dataset", "markov:order=2,vo"], ["markov:order=2,vocab="]),
        (["run", "--dataset", "fi"], ["file:"]),
        (["run", "--dataset", "file:po"], ["file:poems.txt", "file:pot/"]),
        (["run", "--dataset", "file:pot/"], ["file:pot/deep.txt"]),
        (["run", "--dataset", "file:none/"], []),
        (["run", "--split", "l"], ["lecture"]),
        (["run", "--split", "grouped:seed=1,fr"], ["grouped:seed=1,fractions="]),
        (["data", "describe", "tiny"], ["tinyshakespeare"]),
        (["sample", "count"], ["count-bigram"]),
        (["rnu", "--mod"], []),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_the_last_word_is_completed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], expected: list[str]
) -> None:
    """Verbs, options, the last item of models, datasets and splits; what cannot be known is not guessed."""
    Path("poems.txt").touch()
    Path("pot").mkdir()
    Path("pot/deep.txt").touch()
    assert offered(capsys, monkeypatch, *words) == expected


@pytest.mark.usefixtures("remembered")
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_a_shell_that_replaces_the_whole_word_gets_it_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    """`--models=` stands before the value that is offered, commas and colons within."""
    for front in (["--models"], []):
        word = "uniform,mlp:hid" if front else "--models=uniform,mlp:hid"
        assert offered(capsys, monkeypatch, "run", *front, word, shell=shell) == [f"{word}den="]


def test_splits_are_those_of_split() -> None:
    """The names and options that are offered, which completion may not import, are those that are parsed."""
    assert tuple(completion.SPLITS) == split.METHODS
    for name, keys in completion.SPLITS.items():
        for key in ("seed", "fractions"):
            text = f"{name}:{key}={'1' if key == 'seed' else '0.8/0.1/0.1'}"
            if key in keys:
                split.parse(text)
            else:
                with pytest.raises(UsageError):
                    split.parse(text)


def test_without_the_names_only_all_is_offered(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No cache, a damaged one, one of other plugins, a broken harness.toml: no error."""

    def models() -> list[str]:
        return offered(capsys, monkeypatch, "run", "--models", "")

    assert models() == ["all"]
    assert offered(capsys, monkeypatch, "run", "--dataset", "") == ["file:"]
    assert main(["list", "datasets"]) == 0
    capsys.readouterr()
    assert models() == ["all", *registry.discover().models]
    good = completion.cache_file().read_text()
    for damaged in ("", "[]", "{}", good[:-1], good.replace('"plugins": "', '"plugins": "0')):
        completion.cache_file().write_text(damaged)
        assert models() == ["all"]
    completion.cache_file().write_text(good)
    with monkeypatch.context() as other:
        other.setattr(importlib.metadata, "entry_points", lambda **_: ())
        assert models() == ["all"]
    assert len(models()) > 1
    monkeypatch.delenv("HARNESS_CACHE_DIR")
    Path("harness.toml").write_text("broken")
    assert models() == ["all"]


def test_names_are_written_after_any_command_that_asked_the_plugins(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A dry run will do; the file is replaced only when something changed, and nothing else is left there."""
    assert cells(capsys, "--models", "uniform") == ["uniform@numpy"]
    (file,) = (tmp_path / "cache").iterdir()
    assert file == completion.cache_file()
    before = file.stat().st_mtime_ns, file.stat().st_ino
    assert main(["list", "plugins"]) == 0
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == before


def test_a_cache_that_cannot_be_written_is_no_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command's result, its exit code and stderr are the same."""
    Path("taken").write_text("a file")
    monkeypatch.setenv("HARNESS_CACHE_DIR", "taken/cache")
    assert main(["list", "models"]) == 0
    assert capsys.readouterr().err == ""


def test_a_plugin_s_odd_names_never_reach_a_shell() -> None:
    """Words with blanks, escapes, quotes or line ends are left out."""
    odd = ["a b", "x\n", "\x1b[31m", "$(rm)", "`ls`", "a;b", "*", "", "good-1.5_x"]
    assert completion.words(odd) == ["good-1.5_x"]
    assert completion.legal({"ok": True, "a b": 1}, {"ok": ("auto", "$x")}) == {
        "ok": ["false", "true", "auto"]
    }


@pytest.mark.usefixtures("remembered")
def test_a_key_press_imports_no_plugin() -> None:
    """In a process of its own: models are offered, and neither numpy nor pluggy nor a plugin is loaded."""
    code = (
        "import json, sys\nfrom harness.cli import main\nassert main() == 0\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})), file=sys.stderr)"
    )
    words = {COMPLETE: "bash_complete", "COMP_WORDS": "harness run --models uniform,ml", "COMP_CWORD": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | words, check=True
    )
    assert done.stdout.split() == ["plain,uniform,mlp"]
    loaded = set(json.loads(done.stderr))
    assert "harness" in loaded
    assert loaded & HEAVY == set()


def test_show_knows_the_variables_of_verbs_that_have_not_run() -> None:
    """In a process of its own."""
    environment = os.environ | {"HARNESS_MODELS": "mlp,uniform", "HARNESS_RUN_JOBS": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "harness", "config", "show"], capture_output=True, text=True, env=environment
    )
    rows = [re.split("  +", line) for line in done.stdout.splitlines()]
    assert ["models", "mlp,uniform", "HARNESS_MODELS"] in rows
    assert ["jobs", "2", "HARNESS_RUN_JOBS"] in rows


def test_reading_the_file_imports_nothing_heavy() -> None:
    """The file's keys are checked against every verb without numpy, rich, pluggy or a plugin."""
    Path("harness.toml").write_text('dataset = "names"\n[run]\nseeds = 2\n')
    code = (
        "import json, sys\nfrom harness.cli import main\nassert main(['config', 'keys']) == 0\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stderr))
    assert {"tomllib", "click"} <= loaded
    assert loaded & HEAVY == set()


@pytest.mark.usefixtures("remembered")
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_words_that_it_cuts_itself() -> None:
    """Its script with its own words, cut at `:`, `=` and `@`: what replaces the last piece."""
    folder = Path("bin").resolve()
    folder.mkdir()
    command = folder / "harness"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m harness "$@"\n')
    command.chmod(0o755)
    cases = {
        "run --models mlp : hid": "hidden=",
        "run --models uniform,mlp @ nump": "@numpy ",
        "run --models = uniform,mlp : context = 8,init = no": "normal ",
        "run --dataset file : po": "poems.txt ",
        "run --split gr": "grouped ",
    }
    Path("poems.txt").touch()
    script = 'set -e\neval "$(harness completion bash)"\n' + "".join(
        f"COMP_WORDS=(harness {words}); COMP_CWORD={len(words.split())}; COMPREPLY=()\n"
        '_harness_completion harness; printf "%s|" "${COMPREPLY[@]}"; echo\n'
        for words in cases
    )
    environment = os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, env=environment)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [f"{expected}|" for expected in cases.values()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    """It asks `harness` in that shell's way, and the help says which line loads it."""
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"{COMPLETE}={shell}_complete" in script
    assert main(["completion", "--help"]) == 0
    lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    loads = {words[0]: words[2] for words in lines if len(words) == 3}
    assert f"harness completion {shell}" in loads[shell]
    text = DOCS.read_text(encoding="utf-8")
    assert loads[shell] in text


def test_changes_of_click_s_scripts_are_in_force(capsys: pytest.CaptureFixture[str]) -> None:
    """What is replaced in click's scripts was found there."""
    assert main(["completion", "bash"]) == 0
    assert "complete -o nosort -o nospace -F" in capsys.readouterr().out
    assert main(["completion", "fish"]) == 0
    assert 'string split --max 1 ","' in capsys.readouterr().out
