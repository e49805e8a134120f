"""Suites: published figures run again, and what the table says of each."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest

from harness import plan, published, registry, scorecard, selection, split, store, suite
from harness.cli import completion, main
from harness.scorecard import Row, Scorecard
from harness_plugins.nn_bigram import loss_and_gradient, pair_counts

NAMES = ["".join(letters) for letters in itertools.product("abcde", repeat=4)]  # 625, all distinct
LN_6 = math.log(6)  # nats per character of `uniform`: five letters and the boundary

PLUGIN = """
import pathlib
import numpy as np
from harness import Model, ModelSpec, hookimpl

class Fair(Model):
    def fit(self, train, dev, trial): ...
    def log_probs(self, inputs):
        return np.full((*inputs.shape, self.vocab_size), -np.log(self.vocab_size))

class Raises(Fair):
    def fit(self, train, dev, trial): raise RuntimeError("no luck")

class Elsewhere(Fair):
    @classmethod
    def unavailable(cls): return "needs another planet"

class Interrupted(Fair):
    def fit(self, train, dev, trial):
        if not pathlib.Path("again").exists():
            raise KeyboardInterrupt

@hookimpl
def harness_models():
    return [ModelSpec(c.__name__.lower(), {"numpy": c}) for c in (Fair, Raises, Elsewhere, Interrupted)]
"""

SUITE = f"""
description = "a few names"
dataset = "file:few.txt"
split = "lecture"
tolerance = 0.01
source = "the lecture"

[[cell]]
name = "equal"
model = "uniform"
published = {{ test_nll = {LN_6 + 0.009}, dev_nll = {LN_6 - 0.011} }}

[[cell]]
name = "other"
model = "uniform"
published = {{ test_nll = 1.5 }}
why = "other names"
source = "a blog"
note = "by hand"

[[cell]]
name = "cut"
model = "nn-bigram"
published = {{ train_nll = 2.0 }}
cpu = "3steps"
short = "2steps"

[[cell]]
name = "own budget"
model = "nn-bigram"
budget = "3steps"
published = {{ train_nll = 2.0 }}
penalty = 0.5
short = false

[[cell]]
name = "impossible"
model = "count-bigram:k=0"
dataset = "file:rare.txt"
published = {{ test_nll = 2.0 }}

[[cell]]
name = "no dev"
model = "uniform"
split = "makemore"
published = {{ dev_nll = {LN_6} }}

[[cell]]
name = "broken"
model = "raises"
published = {{ test_nll = 2.0 }}

[[cell]]
name = "absent"
model = "elsewhere"
published = {{ test_nll = 2.0 }}
"""


def write(folder: Path, text: str = SUITE) -> Path:
    """A suite with its data and its models in a folder."""
    (folder / "few.txt").write_text("".join(f"{name}\n" for name in NAMES))
    (folder / "rare.txt").write_text("".join(f"{name}\n" for name in [*NAMES, *"fghijklmnopqrstuvwxyz"]))
    (folder / "models.py").write_text(PLUGIN)
    path = folder / "mine.toml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Scorecard:
    """The suite above, run once from another folder than its own."""
    path = write(tmp_path_factory.mktemp("suite"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "probe", lambda path: None)
        return suite.run_suite(
            str(path), plugins=[path.parent / "models.py"], in_process=True, results=path.parent / "results"
        )


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`harness run --suite mine.toml` in this process, with the suite above or another text in the file."""
    monkeypatch.setattr(registry, "probe", lambda path: None)

    def run(*arguments: str, text: str = SUITE) -> int:
        write(Path(), text)
        return main(["run", "--suite", "mine.toml", "--plugin", "models.py", "--in-process", *arguments])

    return run


def row(card: Scorecard, name: str, metric: str | None = None) -> Row:
    """The row of a cell."""
    (found,) = (r for r in card.rows if r.recipe.name == name and metric in (None, r.metric))
    return found


# ---- verdicts


@pytest.mark.parametrize(
    ("name", "metric", "verdict", "reason"),
    [
        ("equal", "test_nll", "reproduced", None),
        ("equal", "dev_nll", "differs", None),
        ("other", "test_nll", "not comparable", "other names"),
        ("cut", "train_nll", "reduced", "3steps instead of 5000steps"),
        ("own budget", "train_nll", "differs", None),
        ("impossible", "test_nll", "differs", None),
        ("no dev", "dev_nll", "not comparable", "the makemore split has no dev part"),
        ("broken", "test_nll", "failed", "fit: RuntimeError: no luck"),
        ("absent", "test_nll", "skipped", "needs another planet"),
    ],
)
def test_each_row_has_its_verdict(
    card: Scorecard, name: str, metric: str, verdict: str, reason: str | None
) -> None:
    """Within the tolerance, outside, or the reason why the tolerance decides nothing."""
    found = row(card, name, metric)
    assert found.verdict == verdict
    assert (found.reason or "").startswith(reason or "")
    assert (found.reason is None) == (reason is None)


def test_a_cut_budget_is_told_of_every_verdict(card: Scorecard) -> None:
    """Nobody takes the figure of a short run for that of the whole, comparable or not."""
    other = row(card, "other")
    cut = Row(other.recipe, "test_nll", other.standing, 2.0, None, "2steps", "9steps")
    assert (cut.verdict, cut.reason) == ("not comparable", "other names; 2steps instead of 9steps")


def test_a_difference_of_the_tolerance_is_within_it(card: Scorecard) -> None:
    """0.3 − 0.2 is above 0.1 in binary, and still no difference of more than 0.1."""
    standing = row(card, "equal", "test_nll").standing
    recipe = published.Recipe(
        name="x", model="m", dataset="d", published={"test_nll": 0.2}, tolerance=0.1, source="s"
    )
    assert Row(recipe, "test_nll", standing, 0.3, None, "b", "b").verdict == "reproduced"
    assert Row(recipe, "test_nll", standing, 0.3001, None, "b", "b").verdict == "differs"


def test_ours_is_what_the_run_measured(card: Scorecard) -> None:
    """Uniform is ln 6 with the interval of its part; p = 0 is infinite, a broken cell nothing."""
    test = row(card, "equal", "test_nll")
    assert test.ours == pytest.approx(LN_6, abs=1e-12)
    assert test.difference == pytest.approx(-0.009, abs=1e-12)
    assert test.half == test.standing.record.metrics.test_nll_half
    assert row(card, "equal", "dev_nll").half == test.standing.record.metrics.dev_nll_half
    assert row(card, "cut").half is None  # train has no interval
    assert row(card, "impossible").ours == math.inf
    assert row(card, "broken").ours is None


def test_the_penalty_is_that_of_the_loss(card: Scorecard) -> None:
    """NLL + 0.5 · mean(W²) is the loss of `nn-bigram` itself at the stored weights."""
    found = row(card, "own budget")
    run = next(run for run in card.runs if found.standing.record in run.records)
    weights = (run.params(found.standing.record) or {})["W"]
    made = plan.plan("uniform", data=found.recipe.dataset, method="lecture")
    counts = pair_counts(made.split_for(made.cells[0].choice).train)
    assert np.any(weights)
    assert found.ours == pytest.approx(loss_and_gradient(weights, counts, 0.5)[0], abs=1e-9)


def test_cells_share_runs_where_they_can(card: Scorecard) -> None:
    """One run file a dataset, split and budget; two cells of one model are one run; rows in file order."""
    labels = [[record.label for record in run.records] for run in card.runs]
    assert labels == [
        ["uniform", "raises", "elsewhere"],
        ["nn-bigram"],  # `cut` and `own budget`: both under 3 steps
        ["count-bigram k=0"],
        ["uniform"],
    ]
    names = ["equal", "equal", "other", "cut", "own budget", "impossible", "no dev", "broken", "absent"]
    assert [r.recipe.name for r in card.rows] == names


def test_the_budget_on_a_gpu_is_the_published_one() -> None:
    """`cpu` counts where the model is not on CUDA; the short form's budget goes before both."""
    recipe = published.Recipe(
        name="x",
        model="m",
        dataset="d",
        published={"dev_nll": 1.0},
        tolerance=0.1,
        source="s",
        budget="9steps",
        cpu="3steps",
        short="2steps",
    )
    assert recipe.budget_on("cuda", short=False) == "9steps"
    assert recipe.budget_on("torch", short=False) == "3steps"
    assert recipe.budget_on("torch", short=True) == "2steps"


# ---- the command


def test_the_table_names_reasons_sources_and_looks(
    mine: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each published figure is a row; below stand reasons, notes and sources; the failed cell is exit 4."""
    assert mine() == 4
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0] == "suite mine: a few names"
    assert max(map(len, lines)) <= 100
    (equal,) = (line for line in lines if line.startswith("equal") and " test " in line)
    assert equal.split()[2:] == ["test", f"{LN_6 + 0.009:g}", "1.7918±.0000", "-0.0090", "0.01", "reproduced"]
    assert "cut: reduced: 3steps instead of 5000steps." in lines
    assert "other: by hand." in lines
    assert "Source of other: a blog." in lines
    assert "Test scores on record for file:few.txt, split lecture, this run included: 2." in lines
    assert shown.err.count("stored: results/") == len(store.run_files(Path("results"))) == 4


def test_a_figure_that_differs_is_no_failure(mine: Callable[..., int]) -> None:
    """Verdicts stand in the table; the exit code is that of the cells."""
    text = SUITE.partition("[[cell]]")[0] + (
        '[[cell]]\nname = "wrong"\nmodel = "uniform"\npublished = { test_nll = 9.9 }\n'
    )
    assert mine(text=text) == 0


def test_the_short_form(mine: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """`short = false` leaves a cell out, a budget cuts it, and the others run as they are."""
    mine("--short", "--json")
    rows = {each["cell"]: each for each in json.loads(capsys.readouterr().out)["rows"]}
    assert "own budget" not in rows
    assert (rows["cut"]["budget"], rows["cut"]["verdict"]) == ("2steps", "reduced")
    assert rows["other"]["verdict"] == "not comparable"


def test_every_format_has_the_same_figures(
    card: Scorecard,
) -> None:
    """CSV and JSON hold them to the last bit, Markdown and LaTeX as the table shows them."""
    test = row(card, "equal", "test_nll")
    (read,) = (
        each
        for each in csv.DictReader(io.StringIO(scorecard.render(card, "csv")))
        if (each["cell"], each["metric"]) == ("equal", "test_nll")
    )
    assert float(read["ours"]) == test.ours
    assert read["verdict"] == "reproduced"
    document = json.loads(scorecard.render(card, "json"))
    assert document["rows"][0]["ours"] == test.ours
    assert document["rows"][5]["ours"] is None  # infinite: no JSON
    assert [len(run["records"]) for run in document["runs"]] == [3, 1, 1, 1]
    assert "| 1.7918±.0000 |" in scorecard.render(card, "markdown")
    assert r"1.7918$\pm$.0000" in scorecard.render(card, "latex")


def test_columns_are_chosen_by_key(mine: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """`--columns` takes the suite's own and those of `run` that speak of a model."""
    mine("--format", "csv", "--columns", "cell,dataset,split,params,seeds")
    first = capsys.readouterr().out.splitlines()[:2]
    assert first == ["cell,dataset,split,parameters,seeds", "equal,file:few.txt,lecture,0,1"]


def test_seeds_are_the_cells_own_unless_given(
    mine: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """`seeds = 2` in the file runs two, and `--seeds 3` three of every cell."""
    text = SUITE.partition("[[cell]]")[0] + (
        '[[cell]]\nname = "x"\nmodel = "fair"\nseeds = 2\npublished = { test_nll = 2 }\n'
    )
    for given, seeds in ([], "2"), (["--seeds", "3"], "3"):
        mine("--format", "csv", "--columns", "seeds", *given, text=text)
        assert capsys.readouterr().out.splitlines() == ["seeds", seeds]


def test_output_copies_every_run_file(mine: Callable[..., int]) -> None:
    """`--output all.jsonl` is the first run, `all-2.jsonl` the second, and so on."""
    mine("--output", "all.jsonl")
    copies = [store.read(Path(f"all{part}.jsonl")) for part in ("", "-2", "-3", "-4")]
    assert [len(run.records) for run in copies] == [3, 1, 1, 1]


def test_dry_run_runs_nothing(mine: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """`--dry-run` prints the cells of every part."""
    assert mine("--dry-run") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]] == [
        "uniform@numpy",
        "raises@numpy",
        "elsewhere@numpy",
        "nn-bigram@numpy",
        "count-bigram@numpy:k=0",
        "uniform@numpy",
    ]
    assert not Path("results").exists()


TWO_PARTS = SUITE.partition("[[cell]]")[0] + (
    '[[cell]]\nname = "first"\nmodel = "uniform"\npublished = { test_nll = 2 }\n'
    '[[cell]]\nname = "second"\nsplit = "all"\nmodel = "interrupted"\npublished = { test_nll = 2 }\n'
)


def test_an_interrupted_suite_is_continued(mine: Callable[..., int]) -> None:
    """What was complete is not run again and what was open goes on; a complete suite begins anew."""
    assert mine(text=TWO_PARTS) == 130
    first, second = store.run_files(Path("results"))
    before = first.read_bytes()
    Path("again").touch()
    assert mine(text=TWO_PARTS) == 0
    assert store.run_files(Path("results")) == [first, second]
    assert first.read_bytes() == before
    assert store.read(second).closed
    assert mine(text=TWO_PARTS) == 0
    assert len(store.run_files(Path("results"))) == 4


def test_fresh_begins_at_the_first_part(mine: Callable[..., int]) -> None:
    """With `--fresh` nothing of an interrupted suite is taken."""
    assert mine(text=TWO_PARTS) == 130
    Path("again").touch()
    assert mine("--fresh", text=TWO_PARTS) == 0
    assert len(store.run_files(Path("results"))) == 4


# ---- mistakes


CELL = '[[cell]]\nname = "x"\nmodel = "uniform"\npublished = { test_nll = 2 }\n'
HEAD = 'dataset = "file:few.txt"\nsplit = "lecture"\nsource = "s"\ntolerance = 0.1\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEAD, "mine.toml: no [[cell]]"),
        (HEAD + "x =", "mine.toml is not TOML"),
        (HEAD.replace("source", "sorce") + CELL, "key 'sorce' in mine.toml; did you mean 'source'?"),
        (HEAD + CELL + "sede = 3\n", "key 'sede' in mine.toml, cell 'x'"),
        (
            HEAD.replace('source = "s"\n', "") + CELL,
            "mine.toml, cell 'x': Object missing required field `source`",
        ),
        (HEAD + CELL + 'seeds = "3"\n', "mine.toml, cell 'x': Expected `int`, got `str`: `seeds`"),
        (HEAD + CELL.replace("test_nll", "tset_nll"), "unknown metric 'tset_nll'"),
        (
            HEAD + CELL.replace("published = { test_nll = ", "published = { dev_nll = nan, test_nll = "),
            "mine.toml, cell 'x': published dev_nll = nan is no figure",
        ),
        (HEAD + CELL + CELL, "mine.toml, cell 'x': another cell has this name"),
        (
            HEAD + CELL.replace("uniform", "unifrom"),
            "mine.toml, cell 'x': unknown model 'unifrom'; did you mean 'uniform'?",
        ),
        (
            HEAD + CELL.replace("uniform", "mlp:preset=lectrue"),
            "mine.toml, cell 'x': unknown preset 'lectrue' of mlp; did you mean 'lecture'?",
        ),
        (HEAD + CELL.replace("uniform", "count-bigram:k=0/1"), "names 2 models; a cell has one"),
        (HEAD.replace("lecture", "lectre") + CELL, "mine.toml, cell 'x': unknown split 'lectre'"),
        (HEAD + CELL + 'budget = "9"\n', "mine.toml, cell 'x': --budget '9'"),
        (HEAD.replace("file:few.txt", "nmes") + CELL, "mine.toml, cell 'x': unknown dataset 'nmes'"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(
    mine: Callable[..., int], capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    """Exit 2 with the file, the cell and the way out, before anything has run."""
    assert mine(text=text) == 2
    shown = capsys.readouterr()
    assert says in shown.err
    assert len(shown.err.splitlines()) == 1
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--suite", "lectrue"], "unknown suite 'lectrue'; did you mean 'lecture'?"),
        (["--suite", "absent.toml"], "absent.toml cannot be read"),
        (
            ["--suite", "lecture", "--models", "mlp"],
            "--suite names the cells that are run: leave --models away",
        ),
        (["--suite", "lecture", "--split", "all", "--budget", "1s"], "leave --split, --budget away"),
        (["--suite", "lecture", "--each-seed"], "--each-seed is not for suites"),
        (["--suite", "lecture", "--columns", "publshed"], "'publshed' of a suite; did you mean 'published'?"),
        (["--short"], "--short is the short form of a suite"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    """Exit 2, and the option is named."""
    assert main(["run", *arguments]) == 2
    shown = capsys.readouterr().err
    assert says in shown
    assert len(shown.splitlines()) == 1


def test_a_suite_without_a_short_form_says_so(
    mine: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing to run is no empty table."""
    assert mine("--short", text=HEAD + CELL + "short = false\n") == 2
    assert "mine.toml has no short form" in capsys.readouterr().err


def test_a_set_suite_gives_way_to_the_command_line(
    mine: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """HARNESS_SUITE is run where no cells are named, and is left aside where they are."""
    write(Path(), HEAD + CELL)
    monkeypatch.setenv("HARNESS_SUITE", "mine.toml")
    assert main(["run", "--in-process"]) == 0
    assert "suite mine" in capsys.readouterr().out
    assert main(["run", "--in-process", "--models", "uniform", "--dataset", "file:few.txt"]) == 0
    assert "suite mine" not in capsys.readouterr().out


# ---- the built-in suites

BUILT_IN = [(name, recipe) for name in published.names() for recipe in published.find(name).recipes]

PUBLISHED = {  # of the lectures' notebooks and of makemore.py
    ("lecture", "1 counts + 1"): {"train_nll": 2.4544},
    ("lecture", "2 MLP"): {"train_nll": 2.1260, "dev_nll": 2.1701},
    ("lecture", "3 batch norm"): {"train_nll": 2.0674, "dev_nll": 2.1057},
    ("lecture", "4 by hand"): {"train_nll": 2.0705, "dev_nll": 2.1099},
    ("lecture", "5 WaveNet"): {"train_nll": 1.7690, "dev_nll": 1.9937},
    ("lecture", "GPT"): {"dev_nll": 1.4873},
    ("makemore", "transformer"): {"test_nll": 1.9655},
    ("makemore", "README"): {"test_nll": 1.92},
}


def test_the_built_in_suites_hold_what_was_published() -> None:
    """The figures that everybody quotes are those of the files."""
    found = {(name, recipe.name): dict(recipe.published) for name, recipe in BUILT_IN}
    assert {key: found.get(key) for key in PUBLISHED} == PUBLISHED


@pytest.mark.parametrize(("name", "recipe"), BUILT_IN, ids=lambda value: getattr(value, "name", value))
def test_a_built_in_cell_can_be_planned(name: str, recipe: published.Recipe) -> None:
    """Its dataset is registered, its split and budgets are understood, and its model where there is one."""
    found = registry.discover()
    assert recipe.dataset in found.datasets
    assert str(split.parse(recipe.split or "")).startswith(recipe.split or "")
    for short in (False, True):
        plan.parse_budget(recipe.budget_on("torch", short=short))
    if recipe.model.partition(":")[0] in found.models and not missing(recipe.model):
        assert len(selection.choose(found, [recipe.model])) == 1


def missing(model: str) -> list[str]:
    """The model, or its preset, where nobody has registered it."""
    name, _, options = model.partition(":")
    spec = registry.discover().models.get(name)
    if spec is None:
        return [name]
    preset = dict(option.split("=") for option in options.split(",") if option).get("preset")
    return [f"{name}:preset={preset}"] if preset and preset not in spec.presets else []


def test_every_model_of_the_built_in_suites_is_registered() -> None:
    """A suite that is in the package can be run."""
    assert sorted({each for _, recipe in BUILT_IN for each in missing(recipe.model)}) == []


def test_the_short_lecture_suite(makemore_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is cheap is reproduced in full, what is not is run and marked; this is the form for CI."""
    short = published.find("lecture").chosen(short=True)
    if absent := [each for recipe in short for each in missing(recipe.model)]:
        pytest.skip(f"not registered: {', '.join(absent)}")
    assert main(["run", "--suite", "lecture", "--short", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    verdicts = {(each["cell"], each["metric"]): each["verdict"] for each in rows}
    reasons = {each["cell"]: each["reason"] for each in rows}
    whole = ["1 counts", "1 counts + 1", "1 network, 100", "1 network", "GPT, bigram"]
    assert {cell for (cell, _), verdict in verdicts.items() if verdict == "reproduced"} == set(whole)
    assert verdicts["2 MLP", "dev_nll"] == "not comparable"
    assert reasons["2 MLP"].endswith("; 2000steps instead of 200000steps")  # its figure is no lecture's
    assert verdicts["3 batch norm", "dev_nll"] == "reduced"


def test_suites_are_completed() -> None:
    """A shell is offered the built-in names, and files and folders of one's own."""
    Path("lessons").mkdir()
    Path("lesser.toml").touch()
    Path("less.txt").touch()
    context = click.Context(click.Command("run"))
    option = click.Option(["--suite"])
    assert completion.suite(context, option, "le") == ["lecture", "lesser.toml", "lessons/"]


def test_list_suites(capsys: pytest.CaptureFixture[str]) -> None:
    """`harness list suites` names each with its cells and its file."""
    assert main(["list", "suites", "--json"]) == 0
    rows = {each["suite"]: each for each in json.loads(capsys.readouterr().out)}
    assert set(rows) == {"lecture", "makemore"}
    assert rows["lecture"]["cells"] == len(published.find("lecture").recipes)
    assert Path(rows["makemore"]["file"]).is_file()
