"""The hierarchical network against the lecture's layers written out, and what its training promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from harness import Alphabet, Corpus, Trial, registry, selection  # noqa: E402
from harness.contract import Config  # noqa: E402
from harness.errors import UsageError  # noqa: E402
from harness_plugins.wavenet import Network, WaveNet  # noqa: E402

RUNNING = ("mean", "vari")
SMALL = "context=4,embedding=3,hidden=6,batch=16,learning_rate=0.02"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices this small gain nothing by threads, which wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def config_of(options: str) -> Config:
    """The complete configuration that a user's options make."""
    return selection.choose(registry.discover(), [f"wavenet:{options}"])[0].config


def made(options: str, v: int = 27) -> WaveNet:
    """A model with its context set as the harness does."""
    config = config_of(options)
    model = WaveNet(v, config, np.random.default_rng(7))
    model.context = config["context"]
    return model


def normalised(x: Any, gain: Any, bias: Any) -> tuple[Any, Any, Any]:
    """The lecture's BatchNorm1d in training: output, mean and variance over all but the last axis."""
    axes = tuple(range(x.ndim - 1))
    mean, variance = x.mean(axes, keepdim=True), x.var(axes, keepdim=True)
    return gain * (x - mean) / torch.sqrt(variance + 1e-5) + bias, mean, variance


def test_the_lecture_has_its_parameters() -> None:
    """76,579, as the notebook counts them: running statistics are none."""
    module = Network(27, config_of("preset=lecture"))
    assert sum(parameter.numel() for parameter in module.parameters()) == 76_579


def test_training_is_that_of_the_lecture(small: Corpus) -> None:
    """The same weights after 100 steps of 32 as by the lecture's layers written out, in float64.

    At 0.1 and, from step 75 on, 0.01; the loss, every parameter and every running statistic.
    """
    steps, losses = 100, []

    def note(done: int, total: int, scalars: Mapping[str, float]) -> None:
        losses.extend(scalars.values())

    model = made("preset=lecture")
    torch.set_default_dtype(torch.float64)
    try:
        start = WaveNet(27, model.config, np.random.default_rng(7))
        state = {name: torch.tensor(value).double() for name, value in start.initial().items()}
        model.fit(small, small, Trial(steps=steps, on_progress=note))
        windows, targets = (torch.from_numpy(array) for array in small.windows(8))
        drawn = start.rng.integers(0, small.targets, (1000, 32))[:steps]
        trained = {n: p.requires_grad_() for n, p in state.items() if n.split(".")[-1][:4] not in RUNNING}
        expected = []
        for step, index in enumerate(drawn):
            x = trained["C"][windows[index]]  # (N, 8, 24)
            for level in range(3):
                x = x.view(x.shape[0], x.shape[1] // 2, -1)  # the lecture's FlattenConsecutive(2)
                x = x.squeeze(1) if x.shape[1] == 1 else x
                gain, bias = trained[f"levels.{level}.gain"], trained[f"levels.{level}.bias"]
                x, *moments = normalised(x @ trained[f"levels.{level}.weight"], gain, bias)
                x = torch.tanh(x)
                for name, moment in zip(("mean", "variance"), moments, strict=True):
                    key = f"levels.{level}.{name}"
                    state[key] = 0.9 * state[key] + 0.1 * moment.detach().flatten()
            logits = x @ trained["W"] + trained["b"]
            loss = torch.nn.functional.cross_entropy(logits, targets[index])
            gradients = torch.autograd.grad(loss, list(trained.values()))
            with torch.no_grad():
                for parameter, gradient in zip(trained.values(), gradients, strict=True):
                    parameter -= (0.1 if step < 75 else 0.01) * gradient
            expected.append(loss.item())
    finally:
        torch.set_default_dtype(torch.float32)
    assert losses == pytest.approx([expected[99]], abs=1e-9)
    assert set(model.params) == set(state)
    for name, value in model.params.items():
        np.testing.assert_allclose(value, state[name].detach().numpy(), atol=1e-8, err_msg=name)


def test_initial_spreads() -> None:
    """Embeddings are standard normal, weights 1/√fan-in, the last layer's a tenth of that."""
    start = made("preset=lecture").initial()
    assert start["C"].std() == pytest.approx(1, rel=0.1)
    assert start["levels.0.weight"].std() == pytest.approx(48**-0.5, rel=0.05)
    assert start["levels.2.weight"].std() == pytest.approx(256**-0.5, rel=0.05)
    assert start["W"].std() == pytest.approx(0.1 * 128**-0.5, rel=0.05)
    assert all(np.all(start[f"levels.{level}.gain"] == 1) for level in range(3))


def test_pairs_are_fused_in_a_tree(small: Corpus) -> None:
    """Of eight characters the first level sees neighbours: its weights fit two, whatever the context."""
    for context, levels in ((2, 1), (8, 3), (16, 4)):
        shapes = {
            n: tuple(p.shape) for n, p in Network(27, config_of(f"context={context}")).named_parameters()
        }
        config = config_of("")
        e, h = config["embedding"], config["hidden"]
        weights = [shape for name, shape in shapes.items() if name.endswith("weight")]
        assert weights == [(2 * e, h)] + [(2 * h, h)] * (levels - 1)


@pytest.mark.parametrize("context", [0, 1, 3, 6, 12])
def test_other_contexts_are_refused(context: int) -> None:
    """One line that names the option and the way out."""
    with pytest.raises(UsageError, match=rf"context={context} must be a power of two: 2, 4, 8"):
        config_of(f"context={context}")


@pytest.mark.parametrize(
    ("options", "said"), [("dropout=1", "dropout=1 must be"), ("batch=1", "batch=1 must be at least 2")]
)
def test_impossible_options_are_refused(options: str, said: str) -> None:
    """A dropout that leaves nothing, a batch that has no variance."""
    with pytest.raises(UsageError, match=said):
        config_of(options)


def test_only_early_stopping_needs_dev() -> None:
    """On a split without dev the default gets one cut from train, the lecture's recipe does not."""
    spec = registry.discover().models["wavenet"]
    assert spec.uses_dev_of(config_of(""))
    assert not spec.uses_dev_of(config_of("preset=lecture"))


def fitted(options: str, corpus: Corpus, answer: Callable[[Any], float] | None) -> WaveNet:
    """The model after 80 steps, its checkpoints answered."""
    torch.manual_seed(0)
    model = made(f"{SMALL},{options}")
    model.fit(corpus, corpus, Trial(steps=80, on_checkpoint=answer))
    return model


def test_checkpoints_do_not_change_training(small: Corpus) -> None:
    """Equal to the bit with a curve and without, also with dropout: evaluating draws no random number."""
    without = fitted("dropout=0.5", small, None)
    with_them = fitted(
        "dropout=0.5", small, lambda model: float(model.log_probs(np.zeros((1, 3), int)).sum() * 0)
    )
    for name, value in without.params.items():
        np.testing.assert_array_equal(with_them.params[name], value)


@pytest.mark.parametrize(("early", "kept"), [("true", 4), ("false", 7)])
def test_early_stopping_keeps_the_best_of_the_curve(small: Corpus, early: str, kept: int) -> None:
    """Of eight points the one with the least dev NLL (here the fifth) is the fitted model, else the last."""
    answers = [3.0, 2.9, 2.5, 2.4, 2.3, 2.4, 2.6, 2.7]
    points: list[dict[str, Any]] = []

    def answer(model: Any) -> float:
        points.append({name: value.copy() for name, value in model.params.items()})
        return answers[len(points) - 1]

    model = fitted(f"early_stopping={early}", small, answer)
    assert len(points) == 8
    for name, value in points[kept].items():
        np.testing.assert_array_equal(model.params[name], value)
    again = made(SMALL)
    again.params = points[kept]
    inputs = np.array([[0, 5, 13, 13, 1]])
    np.testing.assert_array_equal(model.log_probs(inputs), again.log_probs(inputs))


def test_it_learns_running_text(letters: Alphabet) -> None:
    """Of a text that repeats four letters every character is nearly certain after 200 steps."""
    text = Corpus.from_documents(["abcd" * 60], letters, kind="text")
    model = made(f"{SMALL},batch=32".replace("batch=16,", ""))
    model.fit(text, text, Trial(steps=200))
    rows = model.log_probs(letters.encode("abcdabcd")[None])
    assert np.exp(rows[0, -1, letters.encode("a")[0]]) > 0.9
