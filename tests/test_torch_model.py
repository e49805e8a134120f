"""`TorchModel`: the module and `params` stay in step, and rows are those of evaluation mode."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from harness import Alphabet, Corpus, Trial  # noqa: E402
from harness.contract import Config, Ints  # noqa: E402
from harness.torch_model import TorchModel  # noqa: E402

V = 7


class Network(torch.nn.Module):
    """Embedding, batch norm, dropout, linear: every kind of state, and two layers that know their mode."""

    def __init__(self, v: int) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(v, 4)
        self.norm = torch.nn.BatchNorm1d(4)
        self.dropout = torch.nn.Dropout(0.5)
        self.out = torch.nn.Linear(4, v)

    def forward(self, inputs: Any) -> Any:
        """(B, T) -> (B, T, V)."""
        self.graded = torch.is_grad_enabled()
        h = self.norm(self.embedding(inputs).transpose(1, 2)).transpose(1, 2)
        return self.out(self.dropout(h))


class Net(TorchModel):
    """A model that trains for some steps."""

    def build(self, vocab_size: int, config: Config) -> Any:
        """The network."""
        return Network(vocab_size)

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """One pass of plain gradient descent."""
        module = self.module.train()
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        for batch in train.padded(3):
            logits = module(torch.from_numpy(batch.inputs))
            loss = torch.nn.functional.cross_entropy(
                logits[batch.mask], torch.from_numpy(batch.targets[batch.mask])
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        self.keep()


def new() -> Net:
    """A model that has not been fitted."""
    return Net(V, {}, np.random.default_rng(0))


@pytest.fixture
def inputs() -> Ints:
    """(4, 5) tokens."""
    return np.random.default_rng(1).integers(0, V, (4, 5))


@pytest.fixture
def fitted() -> Net:
    """A model after some steps of training, its module still in training mode."""
    torch.manual_seed(0)
    model = new()
    corpus = Corpus.from_documents(["abc", "fed", "bade", "face", "cab", "deaf"], Alphabet("abcdef"))
    model.fit(corpus, corpus, Trial())
    return model


def test_rows_are_the_log_softmax_of_the_module(fitted: Net, inputs: Ints) -> None:
    """(B, T) -> (B, T, V) float32, equal to torch's own log_softmax of the module in evaluation mode."""
    rows = fitted.log_probs(inputs)
    fitted.module.eval()
    with torch.no_grad():
        expected = torch.log_softmax(fitted.module(torch.from_numpy(inputs)), dim=-1).numpy()
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, expected)


def test_rows_in_half_precision_are_normalised_in_float32(fitted: Net, inputs: Ints) -> None:
    """A module that answers in bfloat16 gives float32 rows whose probabilities sum to 1."""
    fitted.module.to(torch.bfloat16)
    rows = fitted.log_probs(inputs)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.exp(rows.astype(np.float64)).sum(axis=-1), 1.0, atol=1e-6)


def test_a_new_instance_given_params_gives_the_same_rows(fitted: Net, inputs: Ints) -> None:
    """Through `np.savez` and back without pickle: bit for bit, running statistics included."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **fitted.params)
    file.seek(0)
    again = new()
    with np.load(file, allow_pickle=False) as arrays:
        again.params = dict(arrays)
    np.testing.assert_array_equal(again.log_probs(inputs), fitted.log_probs(inputs))


def test_params_are_the_whole_state_as_arrays_of_their_own(fitted: Net) -> None:
    """Every entry of the state dict, C-contiguous, and no later training step changes it."""
    state = fitted.module.state_dict()
    assert set(fitted.params) == set(state)
    before = {name: value.copy() for name, value in fitted.params.items()}
    with torch.no_grad():
        for value in fitted.module.state_dict().values():
            value.add_(1)
    for name, value in fitted.params.items():
        assert value.flags.c_contiguous
        assert value.shape == tuple(state[name].shape)
        np.testing.assert_array_equal(value, before[name])


def test_loading_params_leaves_them_alone(fitted: Net) -> None:
    """Arrays that cannot be written to are loaded, and training the module does not write into them."""
    again = new()
    again.params = given = {name: value.copy() for name, value in fitted.params.items()}
    for value in given.values():
        value.flags.writeable = False
    with torch.no_grad():
        for tensor in again.module.state_dict().values():
            tensor.add_(1)
    for name, value in given.items():
        np.testing.assert_array_equal(value, fitted.params[name])


def test_rows_are_computed_in_evaluation_mode(fitted: Net, inputs: Ints) -> None:
    """Dropout is off and batch statistics do not move: the same rows twice, and the same state."""
    assert fitted.module.training
    before = {name: value.clone() for name, value in fitted.module.state_dict().items()}
    first = fitted.log_probs(inputs)
    np.testing.assert_array_equal(fitted.log_probs(inputs), first)
    for name, value in fitted.module.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_restored(fitted: Net, inputs: Ints, training: bool) -> None:
    """A checkpoint in the midst of training leaves the module in training mode, and the reverse."""
    fitted.module.train(training)
    fitted.log_probs(inputs)
    assert [part.training for part in fitted.module.modules()] == [training] * 5


def test_a_frozen_layer_stays_frozen(fitted: Net, inputs: Ints) -> None:
    """A layer that its author put into evaluation mode is not woken by a checkpoint."""
    module: Any = fitted.module.train()
    module.norm.eval()
    fitted.log_probs(inputs)
    assert module.training
    assert module.dropout.training
    assert not module.norm.training


def test_the_mode_is_restored_where_the_module_raises(fitted: Net) -> None:
    """Inputs outside the vocabulary raise, and the module is back in training mode."""
    with pytest.raises(IndexError):
        fitted.log_probs(np.full((1, 1), V))
    assert fitted.module.training


def test_no_gradient_is_recorded_for_rows(fitted: Net, inputs: Ints) -> None:
    """Scoring between two backward passes keeps no graph and leaves the gradients as they were."""
    module: Any = fitted.module
    before = module.out.weight.grad.clone()
    fitted.log_probs(inputs)
    assert not module.graded
    assert torch.equal(module.out.weight.grad, before)
    assert module.out.weight.requires_grad


def test_read_only_inputs_are_scored(fitted: Net, inputs: Ints) -> None:
    """Inputs that cannot be written to (a view, a received frame) raise no warning."""
    expected = fitted.log_probs(inputs)
    inputs.flags.writeable = False
    np.testing.assert_array_equal(fitted.log_probs(inputs), expected)


def test_the_module_is_built_once(fitted: Net, inputs: Ints) -> None:
    """Until `params` are replaced it is the same module, before and after `keep`."""
    model = new()
    module = model.module
    model.log_probs(inputs)
    assert model.module is module
    model.keep()
    assert model.module is module


def test_the_module_is_rebuilt_when_params_are_replaced(fitted: Net, inputs: Ints) -> None:
    """Other params give other rows, those of the model they come from."""
    model = new()
    old = model.module
    before = model.log_probs(inputs)
    model.params = fitted.params
    assert model.module is not old
    rows = model.log_probs(inputs)
    np.testing.assert_array_equal(rows, fitted.log_probs(inputs))
    assert not np.array_equal(rows, before)


def test_the_module_is_on_the_device(fitted: Net) -> None:
    """The harness sets `device` after loading: the module moves there though it was built before."""
    model = new()
    model.params = fitted.params
    assert {value.device.type for value in model.module.parameters()} == {"cpu"}
    model.device = "meta"
    assert {value.device.type for value in model.module.parameters()} == {"meta"}


@pytest.mark.parametrize(("small", "expected"), [(10**9, 1), (1, 2)])
def test_a_small_network_is_trained_by_one_thread(
    fitted: Net, monkeypatch: pytest.MonkeyPatch, small: int, expected: int
) -> None:
    """Meanwhile only, also where training raises."""
    monkeypatch.setattr("harness.torch_model.SMALL", small)
    before = torch.get_num_threads()

    def train() -> None:
        with fitted.few_threads(Trial(threads=2)):
            assert torch.get_num_threads() == expected
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()
    assert torch.get_num_threads() == before
