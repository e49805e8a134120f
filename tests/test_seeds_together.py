"""Many seeds of a model as one problem: each is its solo run, and the table says how it was run."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness import Corpus, Trial, runner, selection, store
from harness.fit import fit_seeds
from harness.plan import Plan, Search
from harness.registry import discover
from harness.split import Split

torch = pytest.importorskip("torch")

from harness_plugins import mlp, mlp_seeds, mlp_torch  # noqa: E402  # after the skip
from harness_plugins.mlp_torch import MlpTorch  # noqa: E402

SMALL = "context=3,embedding=4,hidden=12,batch=16"
DATA = "markov:documents=300"
PLUGIN = '''
import numpy as np
from harness import Model, ModelSpec, hookimpl

class Draws(Model):
    """A row of its own for every seed; `says` is what goes wrong."""

    def fit(self, train, dev, trial):
        self.params = self.one(trial.seed)

    def one(self, seed):
        return {"log_p": np.log(np.random.default_rng(seed).dirichlet(np.full(self.vocab_size, 50.0)))}

    def fit_seeds(self, train, dev, trials):
        found = [self.one(trial.seed) for trial in trials]
        if self.config["says"] == "raises":
            raise ValueError("no luck")
        if self.config["says"] == "too-few":
            return found[1:]
        if self.config["says"].startswith("nan"):
            found[1]["log_p"] = found[1]["log_p"] * np.nan
        if self.config["says"] == "nan-midway":
            for trial, self.params in zip(trials, found):
                trial.checkpoint(self)
        if self.config["says"] == "bad-rows":
            found[2]["log_p"] = found[2]["log_p"] + 1
        return found

    def log_probs(self, inputs):
        return np.broadcast_to(self.params["log_p"], (*inputs.shape, self.vocab_size))

@hookimpl
def harness_models():
    says = ("fine", "raises", "too-few", "nan", "nan-midway", "bad-rows")
    return ModelSpec("draws", {"numpy": Draws}, context=0, stochastic=True, vectorised=True, steps=5,
                     config={"says": "fine"}, words={"says": says})
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """The file of a model that draws its parameters."""
    path = tmp_path / "draws.py"
    path.write_text(PLUGIN)
    return path


@pytest.fixture(scope="module")
def parts() -> Split:
    """A source of three letters."""
    made = runner.plan("uniform", data=DATA)
    return made.split_for(made.cells[0].choice)


def new(options: str, seed: int, v: int) -> MlpTorch:
    """`mlp@torch` as the harness makes it."""
    config = selection.choose(discover(), [f"mlp@torch:{options}"])[0].config
    model = MlpTorch(v, config, np.random.default_rng(seed))
    model.context = config["context"]
    return model


def windows(corpus: Corpus) -> Any:
    """Distinct contexts (U, 3)."""
    return corpus.unique_windows(3)[0]


# ---- each seed is its solo run


@pytest.mark.parametrize(
    "options",
    [
        "",
        "batch_of=windows",
        "normalize=batch,init=jittered",
        "normalize=batch,init=jittered,batch_of=windows",
        "batch_of=documents,blank=true,init=torch,batch=4",
        "optimizer=sgd",
    ],
)
def test_a_seed_is_its_solo_run(parts: Split, options: str) -> None:
    """After 1,000 steps the rows of each seed are those of its fit alone within 1e-4, in two stacks."""
    train, v = parts.train, parts.train.alphabet.size
    chosen = ",".join(filter(None, [SMALL.removesuffix(",batch=16"), options or "batch=16"]))
    seeds = [3, 1, 4]
    trials = [Trial(seed, threads=2, steps=1000) for seed in seeds]
    found = new(chosen, 3, v).fit_seeds(train, parts.dev.corpus, trials)
    for seed, params, trial in list(zip(seeds, found, trials, strict=True))[::2]:
        solo, alone = new(chosen, seed, v), Trial(seed, steps=1000)
        solo.fit(train, parts.dev.corpus, alone)
        expected = solo.window_log_probs(windows(train))
        solo.params = params
        np.testing.assert_allclose(solo.window_log_probs(windows(train)), expected, rtol=1e-4, atol=1e-4)
        assert trial.targets_consumed == alone.targets_consumed


def test_a_seed_that_diverges_touches_no_other(parts: Split) -> None:
    """With a start that is not finite in its midst, the other seeds come to the same bits."""
    train, v = parts.train, parts.train.alphabet.size
    inputs, targets = (torch.from_numpy(array) for array in train.windows(3))

    def run(spoilt: bool) -> list[dict[str, Any]]:
        ones = [new(SMALL + ",batch_of=windows", seed, v) for seed in range(3)]
        starts = [mlp.initial(v, one.config, one.rng) for one in ones]
        starts[1]["W1"] *= np.nan if spoilt else 1
        batches = [one.batches(train) for one in ones]
        stack = mlp_seeds.Stack(starts, batches, inputs, targets, ones[0].config)
        stack.steps([0.1] * 50)
        return stack.params()

    fine, other = run(spoilt=False), run(spoilt=True)
    assert np.isnan(other[1]["W2"]).all()
    for seed in (0, 2):
        assert all((fine[seed][name] == other[seed][name]).all() for name in fine[seed])


@pytest.mark.parametrize("options", ["", "normalize=batch,init=jittered", "batch_of=windows,blank=true"])
def test_by_pairs_and_by_rows_is_one_step(
    parts: Split, options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first layer by pairs or by rows, what follows from a table or looked up: the same gradients."""
    chosen = ",".join(filter(None, [SMALL, options]))

    def slopes() -> tuple[list[float], dict[str, Any]]:
        ones = [new(chosen, seed, parts.train.alphabet.size) for seed in range(3)]
        trials = [Trial(seed, steps=1) for seed in range(3)]
        stacks: list[mlp_seeds.Stack] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mlp_torch, "train_ahead", lambda found, *rest: stacks.extend(found) or [])
            ones[0].fit_seeds(parts.train, parts.dev.corpus, trials)
        losses, v = stacks[0].steps([0.0]), parts.train.alphabet.size
        beyond = [stacks[0].slopes[name][..., v:] for name in ("W2", "b2")]
        assert not any(slope.any() for slope in beyond)
        return losses, stacks[0].slopes

    losses, expected = slopes()
    by_pairs, by_rows = mlp_seeds.Stack.products, mlp_seeds.Stack.rows
    monkeypatch.setattr(mlp_seeds, "MOST_KEPT", 0)
    monkeypatch.setattr(mlp_seeds.Stack, "products", by_rows)
    monkeypatch.setattr(mlp_seeds.Stack, "rows", by_pairs)
    told, found = slopes()
    assert told == pytest.approx(losses, rel=1e-6)
    assert found.keys() == expected.keys()
    for name, slope in expected.items():
        np.testing.assert_allclose(found[name], slope, rtol=0, atol=1e-6 * float(slope.abs().max()) + 1e-9)


@pytest.mark.parametrize("once", [True, False])
def test_batches_lie_side_by_side(once: bool) -> None:
    """What was drawn several times is a row of that weight; of unequal batches the rest weighs nothing.

    Each step is as wide as the largest batch of its own.
    """
    batches = [np.array([2, 2, 5, 7]), np.array([1, 3, 3, 3])]
    if not once:
        batches[1] = batches[1][:2]
    narrow = [np.array([6, 6, 6, 6])] * 2 if once else [np.array([6])] * 2
    (index, weight), (last, whole) = mlp_seeds.side_by_side([batches, narrow], once=once)
    assert index.tolist() == ([[2, 5, 7], [1, 3, 0]] if once else [[2, 2, 5, 7], [1, 3, 0, 0]])
    expected = [[0.5, 0.25, 0.25], [0.25, 0.75, 0]] if once else [[0.25] * 4, [0.5, 0.5, 0, 0]]
    assert weight[:, :, 0].tolist() == expected
    assert (last.tolist(), whole.tolist()) == ([[6], [6]], [[[1.0]], [[1.0]]])


def test_where_no_seed_is_left_the_fit_ends(parts: Split) -> None:
    """A rate at which every seed diverges ends it with `Diverged`, long before the budget does."""
    options = SMALL + ",optimizer=sgd,learning_rate=1e38"
    trials = [Trial(seed, steps=10**5) for seed in (1, 2)]
    with pytest.raises(harness.Diverged, match="after 100 steps, and so with every seed"):
        new(options, 1, parts.train.alphabet.size).fit_seeds(parts.train, parts.dev.corpus, trials)


# ---- which cells are trained together


def groups(models: str, **options: Any) -> list[int]:
    """Sizes of the groups of a plan's cells."""
    made = runner.plan(models, data=DATA, **options)
    return [len(group) for group in made.together(made.cells)]


@pytest.mark.parametrize(
    ("models", "options", "expected"),
    [
        ("mlp@torch:learning_rate=0.01,mlp@numpy", {}, [3, 1, 1, 1]),
        ("mlp@torch:hidden=4/8,learning_rate=0.01", {"budget": "50steps"}, [3, 3]),
        ("mlp@torch", {}, [1, 1, 1]),
        ("mlp@torch:learning_rate=0.01", {"budget": "5s"}, [1, 1, 1]),
        ("mlp@torch:learning_rate=0.01", {"target": 2.0}, [1, 1, 1]),
        ("mlp@torch:learning_rate=0.01", {"solo": True}, [1, 1, 1]),
        ("mlp@torch:preset=lecture", {}, [1, 1, 1]),
        ("mlp@torch:preset=makemore", {}, [3]),
        ("mlp@numba:preset=lecture", {}, [3]),
        ("mlp@torch:preset=makemore,normalize=batch", {}, [1, 1, 1]),
    ],
)
def test_who_is_trained_together(models: str, options: dict[str, Any], expected: list[int]) -> None:
    """Seeds of one model that says so, within a budget of steps; never in a race or where rounding grows."""
    assert groups(models, seeds=3, **options) == expected


def test_a_search_trains_alone() -> None:
    """What follows from the records before it is one cell."""
    made = runner.plan("mlp@torch:learning_rate=0.01", data=DATA, seeds=3)
    made.search = Search("a search", lambda records: None)
    assert [len(group) for group in made.together(made.cells)] == [1, 1, 1]


def test_how_seeds_are_trained_is_in_the_identity() -> None:
    """An open run of seeds together is not continued by one that trains them apart."""
    made: Plan = runner.plan("mlp@torch:learning_rate=0.01", data=DATA, seeds=2)
    assert made.identity != replace(made, how=replace(made.how, solo=True)).identity


# ---- what the run says


def test_rows_of_seeds_that_were_trained_together(tmp_path: Path) -> None:
    """Marked, scored as alone within 1e-4, with a curve each; seconds and memory as the mark says."""
    options: dict[str, Any] = {"dataset": DATA, "seeds": 3, "threads": 1, "results": tmp_path}
    model = f"mlp@torch:{SMALL},learning_rate=0.01,steps=130"
    together = harness.run(model, **options)
    alone = harness.run(model, solo=True, **options)
    for one, other in zip(together.records, alone.records, strict=True):
        assert one.status == other.status == "ok"
        assert one.seed == other.seed
        assert one.metrics.test_nll == pytest.approx(other.metrics.test_nll, abs=1e-4)
        assert one.metrics.dev_nll == pytest.approx(other.metrics.dev_nll, abs=1e-4)
        assert [nll for _, nll in one.curve] == pytest.approx([nll for _, nll in other.curve], abs=1e-4)
        assert len(one.curve) > 3
        assert [mark for mark in one.marks if mark.startswith("batched:3:")]
        assert not other.marks
        assert one.throughput.claimed
        assert one.params is not None
    times = [record.timings for record in together.records]
    assert len({time.train_s for time in times}) == len({time.start_s for time in times}) == 1
    assert "batched:3: its 3 seeds were trained as one problem" in " ".join(str(together).split())
    assert len({(record.metrics.test_nll) for record in together.records}) == 3


def test_in_this_process_too(tmp_path: Path) -> None:
    """`in_process` gives the numbers of a process of its own, to the bit."""
    options: dict[str, Any] = {"dataset": DATA, "seeds": 2, "threads": 1, "results": tmp_path}
    model = f"mlp@torch:{SMALL},learning_rate=0.01,steps=60"
    one, other = harness.run(model, **options), harness.run(model, in_process=True, **options)
    assert [record.metrics for record in one.records] == [record.metrics for record in other.records]
    assert all(record.marks[0].startswith("batched:2:") for record in other.records)


def test_seconds_are_shared_out(parts: Split) -> None:
    """Train seconds are those of all without any checkpoint, ÷ R; a point of a curve stands at its share."""
    now = 0.0

    class Works(harness.Model):
        def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
            return None

        def log_probs(self, inputs: Any) -> Any:
            return np.zeros((*inputs.shape, 4))

        def fit_seeds(self, train: Corpus, dev: Corpus, trials: Any) -> Any:
            nonlocal now
            now += 6
            for trial in trials:
                assert trial.checkpoint(self) == 1.5
            now += 4
            return [{"a": np.full(1, trial.seed)} for trial in trials]

    def clock() -> float:
        return now

    def dev_nll(model: harness.Model) -> float:
        nonlocal now
        now += 100  # a checkpoint's own time
        return 1.5

    def make() -> Works:
        return Works(4, {}, np.random.default_rng(0))

    trials = [Trial(seed, steps=5, clock=clock) for seed in (7, 8)]
    found = fit_seeds(make, parts.train, parts.dev.corpus, trials, dev_nll, clock)
    fits = [found.seed(number, make()) for number in (0, 1)]
    assert [fitted.train_s for fitted in fits] == [5.0, 5.0]
    assert [fitted.curve for fitted in fits] == [[(3.0, 1.5)], [(3.0, 1.5)]]
    assert [fitted.checkpoint_s for fitted in fits] == [100.0, 100.0]
    assert [int(fitted.model.params["a"][0]) for fitted in fits] == [7, 8]


# ---- what breaks


@pytest.mark.parametrize(
    ("says", "statuses", "reason"),
    [
        ("raises", ["failed", "failed", "failed"], "fit: ValueError: no luck (draws.py:"),
        ("too-few", ["invalid", "invalid", "invalid"], "fit_seeds returned no list of 3 params"),
        ("nan", ["ok", "diverged", "ok"], "parameter 'log_p' is not finite after training"),
        ("nan-midway", ["ok", "diverged", "ok"], "parameter 'log_p' is not finite after training"),
        ("bad-rows", ["ok", "ok", "invalid"], "next_log_probs: a row's probabilities sum to 2.71828"),
    ],
)
def test_what_breaks_is_whose_it_is(
    tmp_path: Path, plugin: Path, says: str, statuses: list[str], reason: str
) -> None:
    """Before the fit has ended it is every seed's; what one seed comes to is its own row."""
    result = harness.run(
        f"draws:says={says},uniform", plugin=[plugin], dataset=DATA, seeds=3, results=tmp_path / "r"
    )
    *rows, last = result.records
    assert [record.status for record in rows] == statuses
    assert last.status == "ok"
    for record in rows:
        assert record.status == "ok" or (record.reason or "").startswith(reason), record.reason
        assert (record.metrics.test_nll is None) == (record.status != "ok")


def test_an_interrupted_run_trains_what_is_left(tmp_path: Path, plugin: Path) -> None:
    """After one of three rows the same command trains the other two together, to the same scores."""
    made = runner.plan("draws", plugins=[plugin], data=DATA, seeds=3)
    straight = runner.execute(made, tmp_path / "straight" / "a.jsonl")
    broken = tmp_path / "broken" / "a.jsonl"
    whole = runner.execute(made, broken)
    lines = broken.read_text().splitlines(keepends=True)
    broken.write_text("".join(lines[:2]))  # the header and one row: no end line, so it is open
    done = runner.execute(made, tmp_path / "broken" / "b.jsonl")
    assert done.path == broken
    assert [record.metrics for record in done.records] == [record.metrics for record in straight.records]
    assert [record.marks[-1].split(":")[1] for record in done.records] == ["3", "2", "2"]
    assert whole.closed
    assert store.read(broken).closed


def test_each_seed_has_the_time_of_one(tmp_path: Path, plugin: Path) -> None:
    """The limit of a process that trains three seeds is three times that of a cell."""
    made = runner.plan("draws", plugins=[plugin], data=DATA, seeds=3, timeout=7.0)
    shift: Any = runner.Shift.__new__(runner.Shift)
    shift.made = made
    assert shift.timeout(made.cells) == 21.0
    assert shift.timeout(made.cells[:1]) == 7.0


def test_a_rerun_of_one_seed_is_excused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`verify --rerun` fits the seed alone and says why bits differ: exit 3, not 6."""
    from harness.cli import main

    arguments = [
        "--models",
        f"mlp@torch:{SMALL},learning_rate=0.01,steps=200",
        "--seeds",
        "2",
        "--dataset",
        DATA,
    ]
    assert main(["run", *arguments, "--threads", "1", "--results", str(tmp_path)]) == 0
    capsys.readouterr()
    code = main(["verify", "--rerun", "mlp", "--json", "--results", str(tmp_path)])
    said = json.dumps(json.loads(capsys.readouterr().out))
    assert code == 3, said
    assert "trained as one problem (batched:2)" in said


def test_a_backend_that_cannot_says_so() -> None:
    """A model without it names itself where it is asked."""
    from harness_plugins.uniform import Uniform

    with pytest.raises(NotImplementedError, match="Uniform trains one seed at a time"):
        Uniform(3, {}, np.random.default_rng(0)).fit_seeds(*chain([None] * 3))  # type: ignore[arg-type]


@pytest.mark.parametrize("model", ["mlp@torch", "wavenet", "gru:clip=0,warmup=0"])
def test_a_fit_that_diverges_between_two_losses_is_no_invalid_model(tmp_path: Path, model: str) -> None:
    """Its learning curve is not asked for rows of nothing: its row says `diverged`."""
    pytest.importorskip("torch")
    name, _, options = model.partition(":")
    rate = ",".join(filter(None, [options, "learning_rate=1e38"]))
    (row,) = harness.run(f"{name}:{rate}", dataset=DATA, budget="30steps", results=tmp_path).records
    assert (row.status, "finite" in row.reason or "loss is" in row.reason) == ("diverged", True)
