"""Recurrent networks: trees of prefixes against torch's own layers on padded rows, and makemore's cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch")

from harness import Corpus, registry, selection  # noqa: E402
from harness.contract import Config  # noqa: E402
from harness.errors import UsageError  # noqa: E402
from harness_plugins.prefix_tree import PrefixTree, in_order  # noqa: E402
from harness_plugins.recurrent import MakemoreRecurrent, Recurrent  # noqa: E402
from harness_plugins.recurrent_tree import CELLS, Levels, TreeRecursion  # noqa: E402

KINDS = ["rnn", "gru", "lstm"]
F: Any = torch.nn.functional
SMALL = "embedding=3,hidden=5,dropout=0,input_dropout=0"
BUILT = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}


def config_of(kind: str, options: str) -> Config:
    """The complete configuration that a user's options make."""
    return selection.one(registry.discover(), f"{kind}:{options}").config


def network(kind: str, layers: int = 1) -> Any:
    """A small network in float64."""
    torch.manual_seed(5)
    return Recurrent(kind, 27, config_of(kind, f"{SMALL},layers={layers}")).double()


def tree_of(corpus: Corpus) -> tuple[PrefixTree, Any]:
    """The tree of all documents, and the node of each position of the sorted rows (B, T), −1 for none."""
    rows, lengths = in_order(corpus)
    tree = PrefixTree.of(rows, lengths, corpus.alphabet.size)
    children = {(0, -1): 0}
    for node in range(1, len(tree.tokens)):
        children[int(tree.tokens[node]), int(tree.inner[tree.parent[node]])] = node
    nodes = np.full(rows.shape, -1)
    for b, length in enumerate(lengths):
        node = 0
        for t in range(length):
            node = node if t == 0 else children[int(rows[b, t - 1]), node]
            nodes[b, t] = node
    return tree, nodes


def padded(corpus: Corpus) -> tuple[Any, Any]:
    """Inputs and targets (B, T) of the sorted documents, padded with 0."""
    targets = torch.from_numpy(in_order(corpus)[0].astype(np.int64))
    return F.pad(targets[:, :-1], (1, 0)), targets


class Oracle(torch.nn.Module):  # type: ignore[misc]  # importorskip hides torch's types
    """The same network by torch's own stack of layers."""

    def __init__(self, kind: str, layers: int) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(27, 3)
        self.stack = BUILT[kind](3, 5, num_layers=layers, batch_first=True)
        self.head = torch.nn.Linear(5, 27)
        self.double()

    def forward(self, tokens: Any) -> Any:
        """(B, T) -> logits (B, T, V)."""
        return self.head(self.stack(self.embedding(tokens))[0])


def as_oracle(name: str) -> str:
    """Our parameter's name in torch's stack: `layers.1.bias_hh_l0` -> `stack.bias_hh_l1`."""
    if not name.startswith("layers."):
        return name
    _, layer, own = name.split(".")
    return f"stack.{own.removesuffix('0')}{layer}"


# ---- over trees


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_logits_and_gradients_are_those_of_padded_rows(small: Corpus, kind: str, layers: int) -> None:
    """In float64 the tree's logits and every parameter's gradient equal torch's layers on padded rows."""
    ours, theirs = network(kind, layers), Oracle(kind, layers)
    theirs.load_state_dict({as_oracle(name): value for name, value in ours.state_dict().items()})
    tree, nodes = tree_of(small)
    inputs, targets = padded(small)
    there = torch.from_numpy(nodes >= 0)
    expected = theirs(inputs)
    F.cross_entropy(expected[there], targets[there], reduction="sum").backward()
    logits = ours.tree(tree)
    (-torch.log_softmax(logits, dim=1) * torch.from_numpy(tree.counts)).sum().backward()
    torch.testing.assert_close(logits[nodes[nodes >= 0]], expected[there], rtol=0, atol=1e-12)
    wanted = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    assert len(wanted) == len(list(ours.parameters()))
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[as_oracle(name)], rtol=0, atol=1e-11, msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_the_backward_of_a_cell(kind: str) -> None:
    """Its three gradients by hand are those of autograd through its forward."""
    cell, n, width = CELLS[kind], 4, 3
    torch.manual_seed(0)
    given = [
        torch.randn(n, size * width, dtype=torch.float64, requires_grad=True)
        for size in (cell.gates, cell.gates, cell.states)
    ]
    after, kept = cell.forward(*given)
    assert after.shape == (n, cell.states * width)
    d = torch.randn_like(after)
    expected = torch.autograd.grad(after, given, d, allow_unused=True, materialize_grads=True)
    found = cell.backward(d, tuple(part.detach() for part in kept))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)


@pytest.mark.parametrize("documents", [["ab", "abc", "b", "ab"], ["a"], [""]])
@pytest.mark.parametrize("kind", KINDS)
def test_the_gradients_of_a_tree_against_differences(letters: Any, kind: str, documents: list[str]) -> None:
    """Of inputs, weights and bias, by finite differences; a tree of one node has no weights to move."""
    tree, _ = tree_of(Corpus.from_documents(documents, letters))
    levels = Levels.of(tree.levels, tree.inner, tree.inner_levels, tree.parent, "cpu")
    cell, width = CELLS[kind], 2
    apply: Any = TreeRecursion.apply
    torch.manual_seed(1)
    shapes = ((len(tree.tokens), cell.gates * width), (cell.gates * width, width), (cell.gates * width,))
    given = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(lambda x, w, b: apply(x, w, b, cell, levels), given)


# ---- over rows


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_is_all_that_is_needed_of_the_past(kind: str) -> None:
    """Rows read in two parts, the second from the state after the first, equal rows read at once."""
    made = network(kind, layers=2)
    tokens = torch.randint(1, 27, (3, 7))
    with torch.no_grad():
        at_once, end = made(tokens)
        first, state = made(tokens[:, :4])
        second, after = made(tokens[:, 4:], state)
        last, _ = made(tokens[:, 4:], state, last=True)
    torch.testing.assert_close(torch.cat([first, second], dim=1), at_once, rtol=0, atol=1e-13)
    torch.testing.assert_close(last, at_once[:, -1:], rtol=0, atol=1e-13)
    assert [part.shape for part in state] == [(3, 5 * CELLS[kind].states)] * 2
    for ours, theirs in zip(after, end, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("documents", [1, 26, 27, 300])
def test_one_step_is_that_of_torchs_layers(kind: str, documents: int) -> None:
    """A character more, in evaluation: logits and states of any number of documents equal the layers'."""
    made = network(kind, layers=2).eval()
    tokens = torch.randint(1, 27, (documents, 3))
    with torch.no_grad():
        _, before = made(tokens[:, :2])
        logits, state = made(tokens[:, 2:], before, last=True)
        made.train()  # without dropout: the same law, by the layers
        expected, after = made(tokens[:, 2:], before)
    assert logits.shape == (documents, 1, 27)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-13)
    for ours, theirs in zip(state, after, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_initial_weights(kind: str) -> None:
    """Each gate's recurrent matrix is orthogonal, an LSTM's forget gate is open, the head has no bias."""
    made: Any = Recurrent(kind, 27, config_of(kind, "embedding=4,hidden=16"))
    for _, _, weights, bias in made.recurrences():
        for gate in weights.split(16):
            torch.testing.assert_close(gate @ gate.T, torch.eye(16), rtol=0, atol=1e-5)
        if kind == "lstm":
            assert [bool(offset.min() > 0.5) for offset in bias.split(16)] == [False, True, False, False]
    assert not made.head.bias.any()


def test_dropout_is_for_training(letters: Any) -> None:
    """While training rows change from call to call, by dropout of inputs and of states each; else never."""
    tokens = torch.zeros((1, 4), dtype=torch.int64)
    tree, _ = tree_of(Corpus.from_documents(["abc"], letters))
    for options in ("dropout=0.5,input_dropout=0", "dropout=0,input_dropout=0.5"):
        made: Any = Recurrent("gru", 27, config_of("gru", f"embedding=8,hidden=8,{options}"))
        ways: list[Any] = [lambda: made(tokens)[0], lambda: made.tree(tree)]  # noqa: B023  # called here
        for rows in ways:
            made.train()
            assert not torch.equal(rows(), rows())
            made.eval()
            assert torch.equal(rows(), rows())


# ---- makemore's cells


@pytest.mark.parametrize(("kind", "parameters"), [("rnn", 11_803), ("gru", 28_315)])
def test_makemore_has_its_parameters(kind: str, parameters: int) -> None:
    """As the script prints them for names."""
    made = MakemoreRecurrent(kind, 27, config_of(kind, "preset=makemore"))
    assert sum(parameter.numel() for parameter in made.parameters()) == parameters


@pytest.mark.parametrize("kind", ["rnn", "gru"])
def test_makemore_s_recurrence(kind: str) -> None:
    """Row by row as the script computes it, here in numpy: gates see input and state side by side.

    The reset gate comes before the product, and the state before the first character is learned.
    """
    config = config_of(kind, "preset=makemore,embedding=3,hidden=4")
    torch.manual_seed(2)
    made = MakemoreRecurrent(kind, 27, config).double()
    torch.nn.init.normal_(made.start)
    p = {name: value.detach().numpy() for name, value in made.named_parameters()}
    tokens = np.array([0, 5, 13, 13, 1])

    def linear(gate: str, x: Any) -> Any:
        return p[f"xh_to.{gate}.weight"] @ x + p[f"xh_to.{gate}.bias"]

    def sigmoid(x: Any) -> Any:
        return 1 / (1 + np.exp(-x))

    h, rows = p["start"][0], []
    for token in tokens:
        x = p["wte.weight"][token]
        both = np.concatenate([x, h])
        if kind == "rnn":
            h = np.tanh(linear("h", both))
        else:
            reset, z = sigmoid(linear("r", both)), sigmoid(linear("z", both))
            h = (1 - z) * h + z * np.tanh(linear("hbar", np.concatenate([x, reset * h])))
        rows.append(p["head.weight"] @ h + p["head.bias"])
    batch = torch.from_numpy(np.stack([tokens, tokens]))
    with torch.no_grad():
        found, _ = made(batch)
        _, state = made(batch[:, :2])
        second, _ = made(batch[:, 2:], state, last=True)
    np.testing.assert_allclose(found.numpy(), np.stack([rows, rows]), atol=1e-13)
    np.testing.assert_allclose(second.numpy()[:, 0], np.stack([rows[-1]] * 2), atol=1e-13)


@pytest.mark.parametrize(
    ("selected", "said"),
    [
        ("gru:preset=makemore,layers=2", "layers=1 and batches=random"),
        ("rnn:preset=makemore,batches=tree", "layers=1 and batches=random"),
        ("gru:preset=makemore,dropout=0.1", "dropout=0,input_dropout=0"),
        ("lstm:cell=makemore", "makemore"),
        ("gru:hidden=0", "hidden=0 must be at least 1"),
        ("rnn:layers=0", "layers=0 must be at least 1"),
        ("gru:input_dropout=1", "input_dropout=1 must be at least 0 and below 1"),
    ],
)
def test_impossible_options_are_refused(selected: str, said: str) -> None:
    """In one line that names the option, before anything runs."""
    with pytest.raises(UsageError, match=said):
        selection.one(registry.discover(), selected)
