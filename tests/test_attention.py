"""Transformers and the bag of words: against torch's own layers, against plain loops, beyond the block."""

from __future__ import annotations

from copy import deepcopy
from itertools import islice
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch")

from harness import Alphabet, Corpus, Trial, agreement, evaluate, registry, selection  # noqa: E402
from harness.contract import Config  # noqa: E402
from harness.errors import UsageError  # noqa: E402
from harness_plugins.attention import Transformer, TransformerModel  # noqa: E402
from harness_plugins.bow import BagOfWords, Bow  # noqa: E402
from harness_plugins.document_batches import Nodes, Rows, documents  # noqa: E402
from harness_plugins.pieces import all_pieces  # noqa: E402
from harness_plugins.prefix_tree import PrefixTree, in_order  # noqa: E402

F: Any = torch.nn.functional
PLAIN = "batch=8,dropout=0,early_stopping=false"
GPT = f"embedding=8,heads=2,layers=2,block=12,init=torch,attention_dropout=0,{PLAIN}"
NETWORKS = [
    f"transformer:{GPT},norm=layer,activation=gelu,qkv_bias=true,bias=true",
    f"transformer:{GPT},norm=layer,activation=relu,qkv_bias=false,head_bias=true",
    f"microgpt:{GPT},norm=rms,activation=relu,qkv_bias=false,bias=false",
    f"bow:embedding=4,hidden=5,block=12,{PLAIN}",
]
BLOCKS = [1, 2, 5, 8]


def config_of(selected: str) -> Config:
    """The complete configuration that a user's options make."""
    return selection.one(registry.discover(), selected).config


def network(selected: str, v: int = 27) -> Any:
    """The network in float64."""
    torch.manual_seed(3)
    kind = BagOfWords if selected.startswith("bow") else Transformer
    made = kind(v, config_of(selected)).double()
    for name, parameter in made.named_parameters():
        if name.endswith(("gain", "bias")):  # which start at 1 and 0, where a mistake may not show
            torch.nn.init.normal_(parameter)
    return made


def model(selected: str, v: int = 27) -> Any:
    """The model with initial weights."""
    kind = Bow if selected.startswith("bow") else TransformerModel
    made = kind(v, config_of(selected), np.random.default_rng(5))
    made.start()
    made.keep()
    return made


def size(made: Any) -> int:
    """The number of parameters."""
    return sum(parameter.numel() for parameter in made.parameters())


# ---- the networks


@pytest.mark.parametrize(
    ("selected", "v", "parameters"),
    [
        ("transformer:preset=makemore", 27, 204_544),
        ("transformer:preset=makemore-2022", 27, 204_544),
        ("transformer:preset=lecture-gpt", 65, 10_788_929),
        ("microgpt:preset=karpathy", 27, 4_192),
        ("bow:preset=makemore", 27, 12_827),
    ],
)
def test_presets_have_their_parameters(selected: str, v: int, parameters: int) -> None:
    """As makemore.py, the lecture and microgpt print them."""
    kind = BagOfWords if selected.startswith("bow") else Transformer
    with torch.device("meta"):
        assert size(kind(v, config_of(selected))) == parameters


SCRIPT = {
    "block": 16, "batches": "random", "batch": 32, "learning_rate": 5e-4, "schedule": "constant",
    "warmup": 0.0, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.01, "decay": "all", "early_stopping": False,
}  # fmt: skip
GPT_OF_MAKEMORE = {
    "embedding": 64, "heads": 4, "layers": 4, "norm": "layer", "activation": "gelu", "qkv_bias": True,
    "bias": True, "head_bias": False,
}  # fmt: skip
VALUES: dict[str, dict[str, object]] = {
    "transformer:preset=makemore": SCRIPT
    | GPT_OF_MAKEMORE
    | {"steps": 15_000, "dropout": 0.0, "attention_dropout": 0.0, "clip": 0.0, "init": "torch"},
    "transformer:preset=makemore-2022": SCRIPT
    | GPT_OF_MAKEMORE
    | {"steps": 49_500, "dropout": 0.1, "attention_dropout": 0.1, "clip": 1.0, "init": "gpt"},
    "bow:preset=makemore": SCRIPT | {"embedding": 64, "hidden": 64, "steps": 15_000, "dropout": 0.0},
    "transformer:preset=lecture-gpt": {
        "embedding": 384, "heads": 6, "layers": 6, "block": 256, "norm": "layer", "activation": "relu",
        "qkv_bias": False, "bias": True, "head_bias": True, "batch": 64, "steps": 5000, "learning_rate": 3e-4,
        "schedule": "constant", "warmup": 0.0, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.01,
        "decay": "all", "clip": 0.0, "dropout": 0.2, "attention_dropout": 0.2,
        "early_stopping": False, "init": "torch",
    },
    "microgpt:preset=karpathy": {
        "embedding": 16, "heads": 4, "layers": 1, "block": 16, "norm": "rms", "activation": "relu",
        "qkv_bias": False, "bias": False, "head_bias": False, "init": "small", "batches": "random",
        "batch": 1, "steps": 1000, "learning_rate": 0.01, "schedule": "linear", "warmup": 0.0, "beta1": 0.85,
        "beta2": 0.99, "weight_decay": 0.0, "clip": 0.0, "dropout": 0.0, "attention_dropout": 0.0,
        "early_stopping": False,
    },
}  # fmt: skip


@pytest.mark.parametrize("selected", VALUES)
def test_presets_are_their_sources(selected: str) -> None:
    """Every option of a faithful preset has its source's value, whatever the defaults are."""
    config = config_of(selected)
    assert {key: config[key] for key in VALUES[selected]} == VALUES[selected]


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_a_transformer_is_torch_s(activation: str) -> None:
    """Logits in float64 as by torch's own pre-norm encoder layers under a causal mask."""
    ours = network(f"transformer:{GPT},activation={activation},norm=layer,qkv_bias=true,bias=true")
    tokens = torch.randint(0, 27, (3, 9))
    x = ours.characters(tokens) + ours.positions.weight[:9]
    for block in ours.blocks:
        layer = torch.nn.TransformerEncoderLayer(
            8, 2, 32, 0.0, F.relu if activation == "relu" else lambda x: F.gelu(x, approximate="tanh"),
            batch_first=True, norm_first=True, dtype=torch.float64,
        )  # fmt: skip
        layer.load_state_dict(
            {
                "self_attn.in_proj_weight": block.attention.qkv.weight,
                "self_attn.in_proj_bias": block.attention.qkv.bias,
                "self_attn.out_proj.weight": block.attention.project.weight,
                "self_attn.out_proj.bias": block.attention.project.bias,
                "linear1.weight": block.up.weight,
                "linear1.bias": block.up.bias,
                "linear2.weight": block.down.weight,
                "linear2.bias": block.down.bias,
                "norm1.weight": block.norm1.gain,
                "norm1.bias": block.norm1.bias,
                "norm2.weight": block.norm2.gain,
                "norm2.bias": block.norm2.bias,
            }
        )
        mask = torch.nn.Transformer.generate_square_subsequent_mask(9, dtype=torch.float64)
        x = layer(x, src_mask=mask, is_causal=True)
    last = torch.nn.LayerNorm(8, dtype=torch.float64)
    last.load_state_dict({"weight": ours.last.gain, "bias": ours.last.bias})
    found, _ = ours(tokens)
    torch.testing.assert_close(found, ours.head(last(x)), rtol=0, atol=1e-12)


def test_microgpt_is_karpathy_s() -> None:
    """Logits as by the script's own steps, here in numpy: a position at a time, a head at a time."""
    ours = network(NETWORKS[2])
    p = {name: value.detach().numpy() for name, value in ours.named_parameters()}
    assert not [name for name in p if name.endswith(("bias", "gain"))]

    def normed(x: Any) -> Any:
        return x / np.sqrt((x**2).mean() + 1e-5)

    def softmax(scores: list[Any]) -> Any:
        exps = np.exp(np.array(scores) - max(scores))
        return exps / exps.sum()

    keys: list[list[Any]] = [[], []]
    values: list[list[Any]] = [[], []]
    tokens, rows = [0, 5, 13, 13, 1, 2], []
    for position, token in enumerate(tokens):
        x = normed(p["characters.weight"][token] + p["positions.weight"][position])
        for i in range(2):
            q, k, v = np.split(p[f"blocks.{i}.attention.qkv.weight"] @ normed(x), 3)
            keys[i].append(k)
            values[i].append(v)
            heads = []
            for head in (slice(0, 4), slice(4, 8)):
                weights = softmax([q[head] @ key[head] / np.sqrt(4) for key in keys[i]])
                heads.append(sum(w * value[head] for w, value in zip(weights, values[i], strict=True)))
            x = x + p[f"blocks.{i}.attention.project.weight"] @ np.concatenate(heads)
            inside = np.maximum(p[f"blocks.{i}.up.weight"] @ normed(x), 0)
            x = x + p[f"blocks.{i}.down.weight"] @ inside
        rows.append(p["head.weight"] @ x)
    found, _ = ours(torch.tensor([tokens]))
    np.testing.assert_allclose(found[0].detach().numpy(), rows, atol=1e-12)


def test_the_bag_of_words_is_makemore_s() -> None:
    """Logits as the script computes them: each embedding beside the mean up to it, then a tanh layer."""
    ours = network(NETWORKS[3])
    tokens = torch.randint(0, 27, (2, 7))
    x = ours.wte(tokens) + ours.wpe.weight[:7]
    means = torch.stack([x[:, : t + 1].mean(dim=1) for t in range(7)], dim=1)
    both = x + means
    inside = torch.tanh(both @ ours.up.weight.T + ours.up.bias)
    both = both + inside @ ours.down.weight.T + ours.down.bias
    expected = both @ ours.head.weight.T + ours.head.bias
    torch.testing.assert_close(ours(tokens)[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("selected", NETWORKS)
def test_a_tree_is_padded_rows(small: Corpus, selected: str) -> None:
    """Logits and every gradient over the tree equal those of the same network on padded rows."""
    ours = network(selected).float()
    rows, lengths = in_order(small)
    tree = PrefixTree.of(rows, lengths, 27)
    targets = torch.from_numpy(rows.astype(np.int64))
    there = torch.arange(targets.shape[1]) < torch.from_numpy(lengths)[:, None]
    expected, _ = ours(F.pad(targets[:, :-1], (1, 0)))
    F.cross_entropy(expected[there], targets[there], reduction="sum").backward()
    wanted = {name: parameter.grad for name, parameter in ours.named_parameters()}
    ours.zero_grad()
    logits = ours.tree(tree)
    (-torch.log_softmax(logits, dim=1) * torch.from_numpy(tree.counts)).sum().backward()
    for node, prefixes in enumerate(tree.prefixes()):
        spelt = tree.tokens[prefixes][1:].tolist()
        b = next(b for b, row in enumerate(rows.tolist()) if row[: len(spelt)] == spelt)
        torch.testing.assert_close(logits[node], expected[b, len(spelt)], rtol=0, atol=2e-5)
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.parametrize("selected", NETWORKS)
def test_a_row_does_not_see_the_future(selected: str) -> None:
    """Other characters later, or none, leave the rows before them as they are."""
    ours = network(selected)
    tokens = torch.randint(1, 27, (2, 10))
    other = tokens.clone()
    other[:, 6:] = torch.randint(1, 27, (2, 4))
    rows = ours(tokens)[0][:, :6]
    torch.testing.assert_close(ours(other)[0][:, :6], rows, rtol=0, atol=1e-13)
    torch.testing.assert_close(ours(tokens[:, :6])[0], rows, rtol=0, atol=1e-13)
    assert not torch.allclose(ours(other)[0][:, 6], ours(tokens)[0][:, 6])


@pytest.mark.parametrize("selected", NETWORKS)
def test_a_state_is_all_that_is_needed_of_the_past(selected: str) -> None:
    """Rows read in two parts, the second from the state after the first, equal rows read at once."""
    ours = network(selected)
    tokens = torch.randint(1, 27, (3, 9))
    at_once, _ = ours(tokens)
    first, state = ours(tokens[:, :5])
    second, _ = ours(tokens[:, 5:], state)
    last, _ = ours(tokens[:, 5:], state, last=True)
    torch.testing.assert_close(torch.cat([first, second], dim=1), at_once, rtol=0, atol=1e-12)
    torch.testing.assert_close(last, at_once[:, -1:], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "selected",
    [
        NETWORKS[0].replace(",dropout=0", ",dropout=0.5"),
        NETWORKS[0].replace("attention_dropout=0", "attention_dropout=0.5"),
        NETWORKS[3].replace(",dropout=0", ",dropout=0.5"),
    ],
)
def test_dropout_is_for_training(letters: Alphabet, selected: str) -> None:
    """While training rows change from call to call, over rows and over a tree; else never."""
    ours = network(selected).float()
    tokens = torch.randint(1, 27, (2, 6))
    tree = PrefixTree.of(*in_order(Corpus.from_documents(["abc", "abd"], letters)), 27)
    ways: list[Any] = [lambda: ours(tokens)[0], lambda: ours.tree(tree)]
    for rows in ways:
        ours.train()
        assert not torch.equal(rows(), rows())
        ours.eval()
        assert torch.equal(rows(), rows())


def test_initial_spreads() -> None:
    """gpt: 0.02, into the residual path 1/√(2·layers) of it, biases 0; small: 0.08; torch: its own."""
    options = "embedding=64,heads=4,layers=2,block=64,norm=layer,bias=true,qkv_bias=true"
    for init, spread in (("gpt", 0.02), ("small", 0.08)):
        made: Any = Transformer(27, config_of(f"transformer:init={init},{options}"))
        residual = spread / 2 if init == "gpt" else spread
        for name, value in made.named_parameters():
            if name.endswith("bias"):
                assert not value.any()
            elif name.endswith("gain"):
                assert bool((value == 1).all())
            else:
                wanted = residual if name.endswith(("project.weight", "down.weight")) else spread
                assert value.std().item() == pytest.approx(wanted, rel=0.1), name
    plain: Any = Transformer(27, config_of(f"transformer:init=torch,{options}"))
    assert plain.characters.weight.std().item() == pytest.approx(1, rel=0.1)
    assert plain.blocks[0].up.weight.abs().max().item() == pytest.approx(1 / 8, rel=0.01)


# ---- beyond the block


def start_of(t: int, block: int) -> int:
    """Where the first piece begins that holds position t: pieces begin every half block."""
    step = max(1, block // 2)
    return next(start for start in range(0, t + 1, step) if t < start + block)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("name", ["transformer", "bow"])
def test_longer_inputs_are_read_in_pieces(name: str, block: int) -> None:
    """Every row equals the network's last one on its piece alone, up to it; `next_log_probs` too."""
    size = (
        "embedding=4,hidden=5"
        if name == "bow"
        else "embedding=8,heads=2,layers=1,init=torch,attention_dropout=0"
    )
    made = model(f"{name}:{size},block={block},{PLAIN}")
    inputs = np.random.default_rng(0).integers(1, 27, (2, 21))
    expected = np.zeros((2, 21, 27))
    with torch.no_grad():
        for t in range(21):
            piece = torch.from_numpy(inputs[:, start_of(t, block) : t + 1])
            expected[:, t] = torch.log_softmax(made.module.eval()(piece)[0][:, -1], dim=-1).numpy()
    for length in (1, 7, 21):
        np.testing.assert_allclose(made.log_probs(inputs[:, :length]), expected[:, :length], atol=1e-5)
    for t in range(21):
        np.testing.assert_allclose(made.next_log_probs(inputs[:, : t + 1]), expected[:, t], atol=1e-5)


@pytest.mark.parametrize("block", BLOCKS)
def test_nothing_further_back_than_the_block_matters(block: int) -> None:
    """Other characters there leave the row as it is."""
    made = model(f"transformer:embedding=8,heads=2,layers=1,init=torch,block={block},{PLAIN}")
    rng = np.random.default_rng(1)
    inputs = np.tile(rng.integers(1, 27, 20), (20, 1))  # a row for each position t
    rows = made.log_probs(inputs[:1])[0]
    for t in range(block, 20):
        inputs[t, : t - block + 1] = rng.integers(1, 27, t - block + 1)
    np.testing.assert_allclose(made.log_probs(inputs)[np.arange(20), np.arange(20)], rows, atol=1e-6)


@pytest.mark.parametrize("block", BLOCKS)
def test_pieces_of_training_are_those_that_are_read(letters: Alphabet, block: int) -> None:
    """Every position of every document is new in one piece: the one that its row is read from."""
    words = ["abcdefghijklm", "nop", "q", "rstuvwxyzabcdefghi", "jk"]
    train = Corpus.from_documents(words, letters)
    begins = {}
    for start, fresh, end in zip(*all_pieces(train, block), strict=True):
        assert end - start <= block
        for position in range(fresh, end):
            assert position not in begins
            begins[position] = start
    expected = {
        first + t: first + start_of(t, block)
        for first, last in zip(train.offsets, train.offsets[1:], strict=False)
        for t in range(last - first)
    }
    assert begins == expected


def test_batches_of_documents_longer_than_the_block(letters: Alphabet) -> None:
    """A row is one piece, padded: its inputs begin with 0 at a document's start, only new targets count."""
    words = ["abcdefghijklm", "nop", "q"]
    train = Corpus.from_documents(words, letters)
    made = model(f"transformer:embedding=8,heads=2,layers=1,block=4,{PLAIN}")
    known = set()
    for word in words:
        tokens = [
            0,
            *letters.encode(word).tolist(),
            0,
        ]  # inputs are all but the last, targets all but the first
        for t in range(len(word) + 1):
            begin = start_of(t, 4)
            end = max(u for u in range(len(word) + 1) if start_of(u, 4) == begin) + 1
            fresh = min(u for u in range(len(word) + 1) if start_of(u, 4) == begin)
            counted = tuple(u >= fresh for u in range(begin, end))
            known.add((tuple(tokens[begin:end]), tuple(tokens[begin + 1 : end + 1]), counted))
    seen = set()
    batches = made.batches(train)
    for _ in range(20):
        batch, mean = next(batches)
        assert mean == batch.targets == batch.mask.sum()
        for row in range(8):
            width = int(np.flatnonzero(batch.mask[row])[-1]) + 1
            assert not batch.inputs[row, width:].any()
            arrays = (batch.inputs, batch.targets_of, batch.mask)
            seen.add(tuple(tuple(array[row, :width].tolist()) for array in arrays))
    assert seen == known


@pytest.mark.parametrize("selected", NETWORKS)
def test_a_random_batch_as_a_tree_is_its_padded_rows(makemore_names: tuple[str, ...], selected: str) -> None:
    """The same draws, targets, loss and gradients as by padding, batch after batch, at fewer nodes."""
    train = Corpus.from_documents(makemore_names[:500], Alphabet("abcdefghijklmnopqrstuvwxyz"))
    made = model(
        f"{selected},batches=random,block=16".replace("block=12,", "").replace("batch=8", "batch=32")
    )
    drawn = documents(len(train), 32, deepcopy(made.rng))
    for (batch, divisor), chosen in islice(zip(made.batches(train), drawn, strict=False), 4):
        assert isinstance(batch, Nodes)
        padded = Rows(*train.batch(chosen))
        assert divisor == batch.targets == padded.targets
        assert len(batch.tree.tokens) < 0.6 * padded.mask.size
        grads = []
        for form in (batch, padded):
            made.module.zero_grad()
            loss = made.loss(made.module, form) / divisor
            loss.backward()
            grads.append([loss.detach(), *(parameter.grad for parameter in made.module.parameters())])
        for one, other in zip(*grads, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("option", ["dropout=0.1", "attention_dropout=0.1", "batch=1"])
def test_a_random_batch_stays_rows(small: Corpus, option: str) -> None:
    """With dropout, which falls on documents, and of one document alone."""
    key = option.partition("=")[0]
    kept = [each for each in GPT.split(",") if each.partition("=")[0] != key]
    batch, _ = next(model(f"transformer:{','.join([*kept, option])},batches=random").batches(small))
    assert isinstance(batch, Rows)


@pytest.mark.parametrize(("block", "longest"), [(4, 13), (40, 13), (40, 36)])
@pytest.mark.parametrize("batches", ["tree", "random"])
def test_every_batch_fits_the_network(letters: Alphabet, batches: str, block: int, longest: int) -> None:
    """Documents of any length beside any block: a loss that is ln 27 or so, and all targets in the end."""
    words = ["abcdefghijklmnopqrstuvwxyzabcdefghij"[:n] for n in (longest, longest - 1, 2)]
    train = Corpus.from_documents(words, letters)
    options = "embedding=8,heads=2,layers=1,init=gpt,attention_dropout=0,neighbours=1"
    made = model(f"transformer:{options},batches={batches},block={block},{PLAIN}")
    drawn = made.batches(train)
    for batch, _ in (next(drawn) for _ in range(3)):
        loss = made.loss(made.module, batch).item() / batch.targets
        assert loss == pytest.approx(np.log(27), abs=0.1)


def test_documents_longer_than_the_block_are_learned(letters: Alphabet) -> None:
    """Of lines that repeat four letters every character is nearly certain, far beyond the block too."""
    lines = Corpus.from_documents(["abcd" * 6] * 3, letters)
    options = "embedding=16,heads=2,layers=1,learning_rate=0.02,schedule=constant,warmup=0"
    made = model(f"transformer:block=6,{options},{PLAIN}")
    made.fit(lines, lines, Trial(steps=60))
    rows = made.log_probs(letters.encode("abcd" * 5)[None])
    assert np.exp(rows[0, -1, letters.encode("a")[0]]) > 0.9


@pytest.mark.parametrize("name", ["transformer", "bow"])
def test_the_harness_accepts_documents_longer_than_the_block(letters: Alphabet, name: str) -> None:
    """The promised context holds for its checks: whole rows equal every view of the same history."""
    rng = np.random.default_rng(2)
    words = ["".join(rng.choice(list("abcd"), int(n))) for n in rng.integers(3, 20, 30)]
    lines = Corpus.from_documents(words, letters)
    size = (
        "embedding=4,hidden=5"
        if name == "bow"
        else "embedding=8,heads=2,layers=1,init=torch,attention_dropout=0"
    )
    choice = selection.one(registry.discover(), f"{name}:{size},block=6,{PLAIN}")
    made = model(f"{name}:{size},block=6,{PLAIN}")
    context = choice.spec.context_of(choice.config)
    assert agreement.disagreement(made, lines, context, 1e-4, np.random.default_rng(0)) is None
    by_rows = evaluate.whole(made, lines).nll
    assert evaluate.score(made, lines, context).nll == pytest.approx(by_rows, abs=1e-5)
    assert evaluate.score_train(made, lines, context).nll == pytest.approx(by_rows, abs=1e-5)


@pytest.mark.parametrize(
    ("selected", "said"),
    [
        ("transformer:embedding=10,heads=4", "embedding=10 must be a multiple of heads=4"),
        ("transformer:heads=0", "heads=0 must be at least 1"),
        ("microgpt:block=0", "block=0 must be at least 1"),
        ("microgpt:layers=0", "layers=0 must be at least 1"),
        ("bow:hidden=0", "hidden=0 must be at least 1"),
        ("transformer:norm=batch", "norm"),
    ],
)
def test_impossible_options_are_refused(selected: str, said: str) -> None:
    """In one line that names the option, before anything runs."""
    with pytest.raises(UsageError, match=said):
        config_of(selected)
