"""What the sequence models share: training step by step, batches, rates, stopping, and kept states."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch")

from harness import Alphabet, Corpus, Diverged, Trial, evaluate, registry, selection  # noqa: E402
from harness.errors import UsageError  # noqa: E402
from harness.plan import open_data  # noqa: E402
from harness_plugins import sequence  # noqa: E402
from harness_plugins.document_batches import text_windows  # noqa: E402
from harness_plugins.optimizers import decayed  # noqa: E402
from harness_plugins.prefix_tree import tree_batches  # noqa: E402
from harness_plugins.sequence import Dropout, rows_of  # noqa: E402
from harness_plugins.training import learning_rate  # noqa: E402

F: Any = torch.nn.functional
TRAINING = (
    "batch=8,neighbours=2,batches=tree,block=8,learning_rate=0.02,schedule=cosine,warmup=0.1,beta1=0.9,"
    "beta2=0.99,weight_decay=0.1,decay=weights,clip=1,dropout=0,early_stopping=false"
)
MAKEMORE = (
    "batch=4,batches=random,learning_rate=0.01,schedule=constant,warmup=0,beta1=0.9,beta2=0.99,"
    "weight_decay=0.01,decay=all,clip=0,dropout=0,early_stopping=false"
)
RECURRENT = "embedding=4,hidden=6,layers=1,input_dropout=0"
GPT = "embedding=8,heads=2,layers=1,init=torch,attention_dropout=0"
SIZES = {
    "rnn": RECURRENT,
    "gru": RECURRENT,
    "lstm": RECURRENT.replace("layers=1", "layers=2"),
    "bow": "embedding=6,hidden=6",
    "transformer": GPT,
    "microgpt": GPT,
}
NAMES = list(SIZES)


@cache
def found() -> registry.Registry:
    """The built-in models."""
    return registry.discover()


def config_of(name: str, options: str = TRAINING) -> dict[str, Any]:
    """The complete configuration of a small model under some options of training."""
    return dict(selection.one(found(), f"{name}:{SIZES[name]},{options}").config)


def made(name: str, options: str = TRAINING, changed: dict[str, Any] | None = None, seed: int = 7) -> Any:
    """A small model; `changed`: options on top."""
    kind = registry.resolve(found().models[name], "torch")
    return kind(27, {**config_of(name, options), **(changed or {})}, np.random.default_rng(seed))


def fitted(name: str, corpus: Corpus, steps: int, changed: dict[str, Any] | None = None, **trial: Any) -> Any:
    """The small model after some steps."""
    model = made(name, changed=changed)
    model.fit(corpus, corpus, Trial(steps=steps, **trial))
    return model


def nll(model: Any, corpus: Corpus) -> float:
    """Nats per character."""
    return float(evaluate.score_targets(model, corpus, None).mean())


def same(ours: Any, theirs: Any) -> bool:
    """Whether two models have equal parameters, to the bit."""
    assert set(ours) == set(theirs)
    return all(np.array_equal(value, theirs[name]) for name, value in ours.items())


# ---- rates, groups, dropout


def test_learning_rates() -> None:
    """A linear warm-up from a fiftieth, then the cosine to a hundredth, the line to zero, or no change."""
    config = {"learning_rate": 2.0, "warmup": 0.1, "schedule": "cosine"}
    assert learning_rate(config, 0.0) == pytest.approx(0.04)
    assert learning_rate(config, 0.05) == pytest.approx(2 * 0.51)
    assert learning_rate(config, 0.1) == pytest.approx(2 * (0.01 + 0.99 * (1 + math.cos(0.1 * math.pi)) / 2))
    assert learning_rate(config, 1.0) == pytest.approx(0.02)
    linear = config | {"schedule": "linear", "warmup": 0.0}
    assert [learning_rate(linear, spent) for spent in (0.0, 0.25, 1.0)] == [2.0, 1.5, 0.0]
    constant = config | {"schedule": "constant", "warmup": 0.0}
    assert [learning_rate(constant, spent) for spent in (0.0, 0.5, 1.0)] == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("name", ["gru", "transformer", "bow"])
def test_what_decays(name: str) -> None:
    """Weights of layers do; embeddings, biases and gains do not; with decay=all everything does."""
    module = made(name).module
    names = {id(parameter): each for each, parameter in module.named_parameters()}
    groups = decayed(module, 0.3, everything=False)
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0]
    decay, keep = ({names[id(p)] for p in group["params"]} for group in groups)
    assert decay | keep == set(names.values())
    assert not decay & keep
    embeddings = {"embedding.weight", "characters.weight", "positions.weight", "wte.weight", "wpe.weight"}
    assert decay == {each for each in names.values() if "weight" in each} - embeddings
    (everything,) = decayed(module, 0.3, everything=True)
    assert {names[id(p)] for p in everything["params"]} == set(names.values())
    assert everything["weight_decay"] == 0.3


def test_dropout_is_its_generator_s() -> None:
    """A share of zeros, the rest scaled so that the mean stays; its own generator's; none in evaluation."""
    dropout = Dropout(0.25)
    x = torch.ones(20_000)
    drawn = []
    for _ in range(2):
        dropout.generator = torch.Generator().manual_seed(3)
        drawn.append(dropout(x))
    assert torch.equal(*drawn)
    assert not torch.equal(dropout(x), drawn[0])
    assert (drawn[0] == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert drawn[0].unique().tolist() == pytest.approx([0, 4 / 3])
    assert dropout.eval()(x) is x


# ---- training


@pytest.fixture
def float64() -> Iterator[None]:
    """New networks are in float64: a gradient that is zero is not made of rounding."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("float64")
def test_training_over_trees_step_by_step(small: Corpus) -> None:
    """Six steps end at the weights of the recipe written out.

    A loss divided by the targets that a batch has on average, clipping, AdamW that spares embeddings and
    biases, the rate of each step.
    """
    config = config_of("gru") | {"batch": 4, "clip": 0.05, "weight_decay": 1.0}
    model = made("gru", changed=config)
    model.fit(small, small, Trial(steps=6))
    rng = np.random.default_rng(7)
    torch.manual_seed(int(rng.integers(2**62)))
    module = made("gru").build(27, config)
    rng.integers(2**62)  # for dropout
    parameters = dict(module.named_parameters())
    spared = [p for name, p in parameters.items() if "bias" in name or name == "embedding.weight"]
    decay = [p for name, p in parameters.items() if "bias" not in name and name != "embedding.weight"]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 1.0}, {"params": spared, "weight_decay": 0.0}], betas=(0.9, 0.99)
    )
    for step, tree in enumerate(islice(tree_batches(small, 4, 2, rng), 6)):
        rows = torch.log_softmax(module.tree(tree), dim=1)
        loss = -(rows * torch.from_numpy(tree.counts)).sum() / (4 * small.targets / len(small))
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(module.parameters(), 0.05)
        assert norm > 0.05
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, step / 6)
        optimizer.step()
    for name, parameter in parameters.items():
        np.testing.assert_allclose(model.params[name], parameter.detach().numpy(), atol=1e-8, err_msg=name)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ["rnn", "transformer"])
def test_training_is_that_of_makemore(small: Corpus, name: str) -> None:
    """Eight steps end at the weights of the script's loop written out.

    Documents with replacement, the mean over a batch's own targets, AdamW with a constant rate on everything.
    """
    options = MAKEMORE + (",cell=makemore" if name == "rnn" else "")
    model = made(name, options)
    model.fit(small, small, Trial(steps=8))
    rng = np.random.default_rng(7)
    torch.manual_seed(int(rng.integers(2**62)))
    module = made(name, options).build(27, model.config)
    rng.integers(2**62)  # for dropout
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01, weight_decay=0.01, betas=(0.9, 0.99))
    for _ in range(8):
        words = [small.text(document) for document in rng.integers(0, 6, 4)]
        inputs = torch.zeros((4, max(map(len, words)) + 1), dtype=torch.int64)
        targets = torch.full_like(inputs, -1)
        for row, word in enumerate(words):
            tokens = torch.from_numpy(small.alphabet.encode(word))
            inputs[row, 1 : 1 + len(word)] = tokens
            targets[row, : len(word)] = tokens
            targets[row, len(word)] = 0
        loss = F.cross_entropy(module(inputs)[0].flatten(0, 1), targets.flatten(), ignore_index=-1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for each, parameter in module.named_parameters():
        np.testing.assert_allclose(model.params[each], parameter.detach().numpy(), atol=1e-8, err_msg=each)


@pytest.mark.parametrize("name", ["gru", "transformer"])
def test_one_seed_one_model(small: Corpus, name: str) -> None:
    """Equal seeds train alike to the bit, also with dropout and whatever torch drew before; others do not."""
    first, again, other = (made(name, changed={"dropout": 0.3}, seed=seed) for seed in (7, 7, 8))
    for model in (first, again, other):
        torch.rand(3)
        model.fit(small, small, Trial(steps=5))
    assert same(first.params, again.params)
    assert not same(first.params, other.params)


@pytest.mark.parametrize("name", NAMES)
def test_a_few_steps_help(name: str) -> None:
    """On given names 30 steps bring the NLL of names that were not trained on below the bigram's ln 27."""
    corpus = open_data(found(), "names")
    few = corpus.documents[:: len(corpus.documents) // 300]
    train = Corpus.from_documents(few[::2], corpus.alphabet)
    dev = Corpus.from_documents(few[1::2], corpus.alphabet)
    model = fitted(name, train, 0, {"block": 32})
    before = nll(model, dev)
    after = nll(fitted(name, train, 30, {"block": 32}), dev)
    assert after < min(before, math.log(27)) - 0.2


def test_progress_counts_targets(small: Corpus) -> None:
    """Of 45 steps: the first loss, every twentieth and the end; targets that trees held, and the total."""
    told: list[tuple[int, int]] = []
    losses: list[float] = []

    def note(done: int, total: int, scalars: Any) -> None:
        told.append((done, total))
        losses.extend(scalars.values())

    fitted("gru", small, 45, {"batch": 6, "neighbours": 1}, on_progress=note)
    assert [done for done, _ in told] == [small.targets * steps for steps in (1, 21, 41, 45)]
    assert told[-1][1] == pytest.approx(told[-1][0], rel=0.01)
    assert len(losses) == 3
    assert losses[0] > losses[2] > 0


def test_divergence_is_said(small: Corpus) -> None:
    """A rate that overflows raises `Diverged`, not a row of NaN."""
    with pytest.raises(Diverged, match="after 21 steps"):
        fitted("gru", small, 30, {"learning_rate": 1e38, "clip": 0.0, "warmup": 0.0})


def test_no_budget_for_a_step_is_a_model_all_the_same(small: Corpus) -> None:
    """Of no seconds at all its initial weights are left, and its rows are distributions."""
    model = made("gru")
    model.fit(small, small, Trial(seconds=0.0))
    rows = model.log_probs(np.array([[0, 1, 2]]))
    np.testing.assert_allclose(np.exp(rows).sum(axis=2), 1, atol=1e-5)


# ---- dev


def test_checkpoints_do_not_change_training(small: Corpus) -> None:
    """Equal to the bit with a curve and without, also with dropout: evaluating draws no random number."""
    changed = {"dropout": 0.3}
    without = fitted("gru", small, 20, changed)
    with_them = fitted("gru", small, 20, changed, on_checkpoint=lambda model: nll(model, small))
    assert same(without.params, with_them.params)


@pytest.mark.parametrize(("early", "kept"), [(True, 4), (False, 7)])
def test_early_stopping_keeps_the_best_of_the_curve(small: Corpus, early: bool, kept: int) -> None:
    """Of eight points the one with the least dev NLL (here the fifth) is the fitted model, else the last."""
    answers = [3.0, 2.9, 2.5, 2.4, 2.3, 2.4, 2.6, 2.7]
    points: list[dict[str, Any]] = []
    inputs = np.array([[0, 5, 13, 13, 1]])
    seen = []

    def answer(model: Any) -> float:
        points.append({name: value.copy() for name, value in model.params.items()})
        seen.append(model.next_log_probs(inputs))
        return answers[len(points) - 1]

    model = made("gru", changed={"early_stopping": early})
    model.fit(small, small.take(np.array([0])), Trial(steps=160, on_checkpoint=answer))
    assert len(points) == 8
    assert same(model.params, points[kept])
    np.testing.assert_allclose(model.next_log_probs(inputs), seen[kept], atol=1e-6)
    assert not np.allclose(seen[4], seen[7])


@pytest.mark.parametrize("name", NAMES)
def test_only_early_stopping_needs_dev(name: str) -> None:
    """On a split without dev it gets one cut from train; a faithful preset does not."""
    spec = found().models[name]
    assert spec.uses_dev_of(config_of(name) | {"early_stopping": True})
    assert not spec.uses_dev_of(config_of(name))
    assert spec.steps_of(config_of(name) | {"steps": 17}) == 17
    for preset in spec.presets:
        assert not spec.uses_dev_of(selection.one(found(), f"{name}:preset={preset}").config)


# ---- running text


@pytest.mark.parametrize(("block", "width"), [(5, 5), (100, 11)])
def test_windows_of_running_text(letters: Alphabet, block: int, width: int) -> None:
    """From every place where one fits, and no other; shorter where the text is; every target counts."""
    text = Corpus.from_documents(["abcdefghijk"], letters, kind="text")
    places = {tuple(text.tokens[i : i + width + 1].tolist()) for i in range(11 - width + 1)}
    seen = set()
    for batch in islice(text_windows(text, block, 4, np.random.default_rng(0)), 40):
        assert batch.inputs.shape == batch.targets_of.shape == (4, width)
        assert batch.targets == 4 * width == batch.mask.sum()
        for row, following in zip(batch.inputs.tolist(), batch.targets_of.tolist(), strict=True):
            assert row[1:] == following[:-1]
            seen.add((*row, following[-1]))
    assert seen == places


@pytest.mark.parametrize("name", ["gru", "transformer"])
def test_running_text_is_learned(letters: Alphabet, name: str) -> None:
    """Of a text that repeats four letters every character is nearly certain."""
    text = Corpus.from_documents(["abcd" * 30], letters, kind="text")
    model = fitted(name, text, 60, {"block": 8, "learning_rate": 0.05})
    rows = model.log_probs(letters.encode("abcdabcd")[None])
    assert np.exp(rows[0, -1, letters.encode("a")[0]]) > 0.8


def test_progress_on_running_text_reaches_its_total(letters: Alphabet) -> None:
    """A step consumes `windows` windows of `block` targets."""
    text = Corpus.from_documents(["abcd" * 30], letters, kind="text")
    told: list[tuple[int, int]] = []
    options = {"block": 8, "windows": 5}
    fitted("gru", text, 3, options, on_progress=lambda done, total, scalars: told.append((done, total)))
    assert told[-1] == (3 * 5 * 8, 3 * 5 * 8)


# ---- kept states


def forgetful(model: Any) -> Any:
    """The same model without kept states: every call is answered from the start of its inputs."""

    class Forgetful(type(model)):  # type: ignore[misc]  # the class is known only here
        def next_log_probs(self, inputs: Any) -> Any:
            self._kept = None
            return super().next_log_probs(inputs)

    other = Forgetful(model.vocab_size, model.config, np.random.default_rng(0))
    other.params = model.params
    return other


@pytest.fixture(params=NAMES)
def model(request: pytest.FixtureRequest) -> Any:
    """Each model with initial weights, spread out so that its rows differ."""
    model = made(request.param)
    module = model.start()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.keep()
    return model


Change = Callable[[Any], Any]
CHANGES: dict[str, Change] = {
    "extended": lambda rows: rows,
    "dropped": lambda rows: rows[1::2] if len(rows) > 1 else rows,
    "repeated": lambda rows: rows[[2, 2, 0, 1, 1, 1]],
    "reordered": lambda rows: rows[::-1],
    "one that is new": lambda rows: np.where(np.arange(len(rows))[:, None] == 1, 9, rows),
}


@pytest.mark.parametrize("change", CHANGES)
def test_kept_states_are_the_stateless_law(model: Any, change: str) -> None:
    """Rows that are dropped, repeated, put in another order or new: as if nothing had been kept."""
    stateless = forgetful(model)
    rng = np.random.default_rng(1)
    inputs = rng.integers(1, 27, (5, 4))
    inputs[:, 0] = 0
    for _ in range(4):
        expected = stateless.next_log_probs(inputs)
        np.testing.assert_allclose(model.next_log_probs(inputs), expected, atol=2e-5)
        inputs = CHANGES[change](inputs)
        inputs = np.column_stack([inputs, rng.integers(1, 27, len(inputs))])


def test_kept_states_make_one_step_of_many(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs that go on by a character are read from there; a state that would be large is not kept."""
    widths = []
    forward = model.module.forward

    def counting(tokens: Any, *arguments: Any, **options: Any) -> Any:
        widths.append(tokens.shape[1])
        return forward(tokens, *arguments, **options)

    monkeypatch.setattr(model.module, "forward", counting)
    inputs = np.array([[0, 3, 1, 4, 1], [0, 5, 9, 2, 6]])
    for length in (3, 4, 5):
        model.next_log_probs(inputs[:, :length])
    assert widths == [3, 1, 1]
    monkeypatch.setattr(sequence, "MOST_KEPT", 0)
    widths.clear()
    model.next_log_probs(inputs[:, :4])
    model.next_log_probs(inputs)
    assert widths == [4, 5]


def test_kept_states_end_with_their_parameters(model: Any) -> None:
    """After `params` are replaced the same inputs are read anew."""
    inputs = np.array([[0, 3, 1, 4], [0, 5, 9, 2]])
    model.next_log_probs(inputs[:, :3])
    model.params = {name: value * 1.5 for name, value in model.params.items()}
    expected = forgetful(model).next_log_probs(inputs)
    np.testing.assert_allclose(model.next_log_probs(inputs), expected, atol=2e-5)


def test_inputs_may_change_after_a_call(model: Any) -> None:
    """What was kept is a copy: a caller who writes into his array does not change what it stands for."""
    inputs = np.array([[0, 3, 1]])
    model.next_log_probs(inputs)
    inputs[0, 1] = 8
    longer = np.array([[0, 8, 1, 4]])
    expected = forgetful(model).next_log_probs(longer)
    np.testing.assert_allclose(model.next_log_probs(longer), expected, atol=2e-5)


@pytest.mark.parametrize("prompt", [(), (10, 15)])
def test_samples_are_those_of_the_stateless_law(model: Any, prompt: tuple[int, ...]) -> None:
    """The same generator draws the same documents, some ending early, beyond the block too."""
    drawn = [
        each.sample(12, 20, np.random.default_rng(4), prompt=prompt, temperature=1.5)
        for each in (model, forgetful(model))
    ]
    assert [document.tolist() for document in drawn[0]] == [document.tolist() for document in drawn[1]]
    assert all(document[: len(prompt)].tolist() == list(prompt) for document in drawn[0])
    assert len({len(document) for document in drawn[0]}) > 2
    assert max(len(document) for document in drawn[0]) > model.config["block"]


def test_rows_of() -> None:
    """Where each wanted row stands; none where one does not stand there or lengths differ."""
    known = np.array([[0, 5], [0, 7], [0, 5], [3, 0]])
    wanted = np.array([[3, 0], [0, 5], [0, 5], [0, 7]])
    at = rows_of(known, wanted)
    assert at is not None
    np.testing.assert_array_equal(known[at], wanted)
    assert rows_of(known, np.array([[0, 5], [0, 6]])) is None
    assert rows_of(known, wanted[:, :1]) is None
    assert rows_of(known[:, :0], wanted[:, :0]) is None


# ---- options


@pytest.mark.parametrize(
    ("selected", "said"),
    [
        ("gru:dropout=1", "dropout=1 must be at least 0 and below 1"),
        ("bow:warmup=1.5", "warmup=1.5 must be"),
        ("microgpt:beta1=1", "beta1=1 must be"),
        ("rnn:batch=0", "batch=0 must be at least 1"),
        ("rnn:neighbours=0", "neighbours=0 must be at least 1"),
        ("lstm:block=0", "block=0 must be at least 1"),
        ("transformer:learning_rate=-1", "learning_rate=-1 must be at least 0"),
        ("transformer:weight_decay=-1", "weight_decay=-1 must be at least 0"),
        ("transformer:clip=-1", "clip=-1 must be at least 0"),
        ("gru:steps=-1", "steps=-1 must be at least 0"),
        ("gru:batches=trees", "batches"),
        ("gru:schedule=step", "schedule"),
    ],
)
def test_impossible_options_are_refused(selected: str, said: str) -> None:
    """In one line that names the option, before anything runs."""
    with pytest.raises(UsageError, match=said):
        selection.one(found(), selected)


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_is_legal(name: str) -> None:
    """A preset passes its model's own check and sets known options only, whatever the defaults are."""
    spec = found().models[name]
    for preset in ["", *spec.presets]:
        chosen = selection.one(found(), f"{name}:preset={preset}" if preset else name)
        assert set(chosen.config) == set(spec.config)
