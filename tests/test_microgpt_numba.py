"""`microgpt@numba`: the law, gradients and training of `microgpt@torch`, compiled."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch")
pytest.importorskip("numba")

from harness import Alphabet, Corpus, Diverged, Trial, agreement, evaluate, registry, selection  # noqa: E402
from harness.contract import Config  # noqa: E402
from harness.errors import UsageError  # noqa: E402
from harness_plugins import microgpt_numba as ours  # noqa: E402
from harness_plugins import transformer_reader as reader  # noqa: E402
from harness_plugins.attention import TransformerModel  # noqa: E402
from harness_plugins.document_batches import Rows  # noqa: E402
from harness_plugins.microgpt_kernels import loss_and_gradients, train  # noqa: E402
from harness_plugins.optimizers import decayed  # noqa: E402
from harness_plugins.pieces import all_pieces  # noqa: E402
from harness_plugins.training import learning_rate  # noqa: E402

# whole tiles, widths that are none, several layers, one head
EVERYTHING = "norm=layer,activation=gelu,qkv_bias=true,bias=true,head_bias=true"
CONFIGS = [
    "preset=karpathy",
    f"{EVERYTHING},embedding=16,heads=2,layers=2,block=16,init=torch",
    "activation=gelu,bias=true,embedding=10,heads=5,layers=1,block=13",
    "norm=layer,embedding=24,heads=3,layers=2,block=16",
    "embedding=24,heads=3,layers=2,block=16",
    "embedding=10,heads=1,layers=3,block=13",
]


def config_of(options: str) -> Config:
    """The complete configuration that a user's options make."""
    return selection.one(registry.discover(), f"microgpt@numba:{options}").config


def made(options: str, seed: int = 5) -> ours.TransformerNumba:
    """The model with initial weights."""
    config = config_of(options)
    model = ours.TransformerNumba(27, config, np.random.default_rng(seed))
    model.params = ours.initial(27, config, model.rng)
    return model


def theirs(model: ours.TransformerNumba) -> TransformerModel:
    """`microgpt@torch` with the same parameters."""
    other = TransformerModel(27, model.config, np.random.default_rng(0))
    other.params = model.params
    return other


@pytest.fixture(scope="module")
def names() -> Corpus:
    """Sixty words of 1 to 12 letters."""
    rng = np.random.default_rng(8)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(rng.choice(letters, rng.integers(1, 13))) for _ in range(60)]
    return Corpus.from_documents(words, Alphabet("".join(letters)))


def padded(corpus: Corpus, pieces: Any) -> Rows:
    """Pieces (3, B) of a text as padded rows."""
    start, fresh, end = pieces
    at = start[:, None] + np.arange((end - start).max())  # (B, T)
    inside = at < end[:, None]
    at = np.where(inside, at, 0)
    return Rows(
        np.where(inside, corpus.tokens[at], 0).astype(np.int64),
        np.where(inside, corpus.tokens[at + 1], 0).astype(np.int64),
        inside & (at >= fresh[:, None]),
    )


@pytest.mark.parametrize("options", CONFIGS)
def test_rows_are_those_of_torch(options: str) -> None:
    """Log-probabilities from the same parameters, of more documents than are read at once."""
    model = made(options)
    inputs = np.zeros((reader.ROWS + 3, 9), np.int64)
    inputs[:, 1:] = np.random.default_rng(1).integers(1, 27, (len(inputs), 8))
    expected = theirs(model).log_probs(inputs)
    np.testing.assert_allclose(model.log_probs(inputs), expected, atol=1e-5)
    np.testing.assert_allclose(model.next_log_probs(inputs), expected[:, -1], atol=1e-5)
    np.testing.assert_allclose(model.log_probs(inputs[:2, :3]), expected[:2, :3], atol=1e-5)


def test_longer_inputs_are_read_in_the_same_pieces() -> None:
    """Inputs beyond the block: rows and last rows equal torch's, at every length."""
    model = made("embedding=16,heads=2,layers=1,block=5")
    inputs = np.zeros((3, 17), np.int64)
    inputs[:, 1:] = np.random.default_rng(2).integers(1, 27, (3, 16))
    expected = theirs(model).log_probs(inputs)
    np.testing.assert_allclose(model.log_probs(inputs), expected, atol=1e-5)
    for t in range(1, 18):
        np.testing.assert_allclose(model.next_log_probs(inputs[:, :t]), expected[:, t - 1], atol=1e-5)


@pytest.mark.parametrize("options", CONFIGS)
def test_last_rows_go_on_from_what_was_kept(options: str) -> None:
    """Documents extended, dropped, repeated, reordered, new, more than are read at once: torch's rows."""
    model, rng = made(options), np.random.default_rng(8)
    stateless = theirs(model)
    inputs = np.zeros((reader.ROWS + 5, 1), np.int64)
    orders = ([0, 1, 2], [2, 2, 0, 1], [3, 1], None)
    for order in orders:
        for _ in range(2):
            inputs = np.column_stack([inputs, rng.integers(1, 27, len(inputs))])
            expected = stateless.log_probs(inputs)[:, -1]
            np.testing.assert_allclose(model.next_log_probs(inputs), expected, atol=1e-5)
        if order is None:  # one that none of those kept extends to
            inputs[0, 1] = inputs[0, 1] % 26 + 1
        else:
            inputs = inputs[[*order, *range(4, len(inputs))]]


def test_only_the_new_position_is_worked_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs that go on by a character are not read again; where states would be large they are."""
    read = []
    plain = reader.fill_logits
    monkeypatch.setattr(reader, "fill_logits", lambda *given: read.append(given[1].size) or plain(*given))
    model, inputs = made("preset=karpathy"), np.array([[0, 3, 1, 4], [0, 5, 9, 2]])
    for t in (2, 3, 4):
        model.next_log_probs(inputs[:, :t])
    assert read == [4, 2, 2]
    monkeypatch.setattr(reader, "MOST_KEPT", 0)
    model.next_log_probs(inputs[:, :2])
    model.next_log_probs(inputs[:, :3])
    assert read == [4, 2, 2, 4, 6]


def test_a_call_that_fails_leaves_no_states(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was kept before it is not read in its place."""
    model, inputs = made("preset=karpathy"), np.array([[0, 3, 1], [0, 5, 9]])
    expected = model.next_log_probs(inputs)
    model.next_log_probs(inputs[:, :2])

    def fails(*given: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(reader, "log_softmax", fails)
        with pytest.raises(MemoryError):
            model.next_log_probs(np.array([[0, 7]] * 9))
    np.testing.assert_allclose(model.next_log_probs(inputs), expected, atol=1e-6)


def test_rows_follow_the_parameters() -> None:
    """Other `params` are read, not the network that was kept."""
    model, other = made("preset=karpathy"), made("preset=karpathy", seed=6)
    inputs = np.array([[0, 3, 1]])
    first = model.log_probs(inputs)
    model.params = other.params
    assert (model.log_probs(inputs) == other.log_probs(inputs)).all()
    assert not np.allclose(model.log_probs(inputs), first)


@pytest.mark.parametrize("options", CONFIGS)
@pytest.mark.parametrize("whole", [True, False])
def test_gradients_are_those_of_torch(names: Corpus, options: str, whole: bool) -> None:
    """To 1e-5 of the largest of each parameter, also where only a piece's later targets count."""
    model = made(options)
    config = model.config
    pieces = all_pieces(names, config["block"] if whole else 4)[:, 3:20]
    (_, net), (_, grad) = ours.network(27, config), ours.network(27, config)
    ours.put(net, model.params, 27, config)
    work = ours.workspace(27, config, pieces.shape[1], 13)
    batch = padded(names, pieces)
    scale, width = np.float32(1 / batch.targets), np.float32(config["embedding"])
    loss = loss_and_gradients(net, grad, names.tokens, *pieces, scale, width, work)
    found = ours.taken(grad, 27, config)
    other = theirs(model)
    expected = other.loss(other.module.train(), batch) / batch.targets
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    for name, parameter in other.module.named_parameters():
        slope = parameter.grad.numpy()
        np.testing.assert_allclose(found[name], slope, rtol=0, atol=1e-5 * np.abs(slope).max(), err_msg=name)


@pytest.mark.parametrize(
    "options",
    [
        "decay=weights,clip=0.5,beta1=0.8",
        "decay=all,clip=0,beta2=0.9",
        # (without a bias of keys, whose gradient is 0: AdamW would take steps of its rounding)
        f"decay=weights,init=torch,{EVERYTHING.replace('qkv_bias=true', 'qkv_bias=false')}",
    ],
)
def test_steps_are_those_of_torch(names: Corpus, options: str) -> None:
    """Twelve steps in one call: rates, clipping, decay of weights or of everything, as torch's AdamW."""
    model = made(f"embedding=12,heads=2,block=16,schedule=linear,weight_decay=0.1,{options}")
    config, rng = model.config, np.random.default_rng(3)
    other = theirs(model)
    module = other.module.train()
    optimizer = torch.optim.AdamW(
        decayed(module, config["weight_decay"], everything=config["decay"] == "all"),
        betas=(config["beta1"], config["beta2"]),
    )
    found = all_pieces(names, 16)
    chosen = rng.integers(0, len(names), (12, 5))
    rates = [learning_rate(config, i / 12) for i in range(12)]
    sizes, losses = [], []
    for rate, some in zip(rates, chosen, strict=True):
        batch = padded(names, found[:, some])
        loss = other.loss(module, batch) / batch.targets
        optimizer.zero_grad()
        loss.backward()
        if config["clip"]:
            torch.nn.utils.clip_grad_norm_(module.parameters(), config["clip"])
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        sizes.append(batch.targets)
        losses.append(loss.item())
    (flat, net), (slope, grad) = ours.network(27, config), ours.network(27, config)
    ours.put(net, model.params, 27, config)
    told = np.zeros(12)
    first_decayed = 0 if config["decay"] == "all" else len(flat) - ours.matrices(net)
    train(
        net, flat, grad, slope, np.zeros((2, len(flat)), np.float32), names.tokens, found[:, chosen.ravel()],
        np.arange(13) * 5, np.array(sizes, np.float32), np.array(rates), (config["beta1"], config["beta2"]),
        config["weight_decay"], first_decayed, config["clip"], 0, np.float32(12),
        ours.workspace(27, config, 5, 16), told,
    )  # fmt: skip
    np.testing.assert_allclose(told, losses, rtol=1e-5)
    for name, value in ours.taken(net, 27, config).items():
        np.testing.assert_allclose(value, module.state_dict()[name].numpy(), atol=2e-5, err_msg=name)


@pytest.mark.parametrize("init", ["small", "gpt", "torch"])
def test_initial_values_follow_the_laws_of_torch(init: str) -> None:
    """Names, shapes, spreads and bounds of `microgpt@torch`, each parameter by itself."""
    config = config_of(f"embedding=64,heads=4,layers=2,init={init}")
    other = TransformerModel(27, config, np.random.default_rng(1))
    other.start()
    other.keep()
    found = ours.initial(27, config, np.random.default_rng(2))
    assert {name: value.shape for name, value in found.items()} == {
        name: value.shape for name, value in other.params.items()
    }
    for name, value in found.items():
        wanted, shares = other.params[name], np.linspace(0.05, 0.95, 19)
        apart = np.quantile(value, shares) - np.quantile(wanted, shares)
        assert np.abs(apart).max() < 0.15 * wanted.std(), name
        assert value.std() == pytest.approx(wanted.std(), rel=0.06), name


@pytest.mark.parametrize("init", ["gpt", "torch"])
def test_gains_and_biases_start_as_torch_has_them(init: str) -> None:
    """Gains 1; biases 0, but with `init=torch` those of linear layers, uniform within 1/√fan-in."""
    config = config_of(f"{EVERYTHING},embedding=64,heads=4,layers=2,init={init}")
    other = TransformerModel(27, config, np.random.default_rng(1))
    other.start()
    other.keep()
    found = ours.initial(27, config, np.random.default_rng(2))
    assert {name: value.shape for name, value in found.items()} == {
        name: value.shape for name, value in other.params.items()
    }
    for name, value in other.params.items():
        if value.ndim == 1:
            assert found[name].mean() == pytest.approx(value.mean(), abs=0.05), name
            assert found[name].std() == pytest.approx(value.std(), rel=0.35, abs=1e-9), name


@pytest.mark.parametrize("batches", ["tree", "random"])
@pytest.mark.parametrize("block", [5, 16])
def test_batches_are_documents_or_their_pieces(names: Corpus, batches: str, block: int) -> None:
    """Every target comes; sorted runs of documents are divided by a constant, others by their own."""
    model = made(f"block={block},batch=8,neighbours=4,batches={batches}")
    draw, average = model.batches(names)
    pieces, bounds, sizes, targets = draw(300)
    assert (np.diff(bounds) <= 8).all()
    seen = {at for start, end in zip(pieces[1], pieces[2], strict=True) for at in range(start, end)}
    assert seen == set(range(names.targets))
    own = [int((pieces[2] - pieces[1])[a:b].sum()) for a, b in pairwise(bounds)]
    assert targets == sum(own)
    assert average == 8 * names.targets / len(names)
    if batches == "tree" and block == 16:
        assert (sizes == np.float32(average)).all()
        texts = [names.text(int(np.searchsorted(names.offsets, at))) for at in pieces[0, :4]]
        assert texts == sorted(texts)
    else:
        assert sizes.tolist() == own


def test_it_learns_as_torch_does(makemore_names: tuple[str, ...]) -> None:
    """The same recipe on the lectures' names: train NLL after 300 steps within 0.05 of torch's."""
    config = config_of("preset=karpathy,batch=8,steps=300")
    names = Corpus.from_documents(makemore_names[:2000], Alphabet("abcdefghijklmnopqrstuvwxyz"))
    found = []
    for kind in (ours.TransformerNumba, TransformerModel):
        model: Any = kind(27, config, np.random.default_rng(4))
        model.fit(names, names.take(np.arange(0)), trial := Trial(steps=300))
        found.append(evaluate.score(model, names, None).nll)
        assert trial.targets_consumed == pytest.approx(300 * 8 * names.targets / len(names), rel=0.05)
    assert found[0] == pytest.approx(found[1], abs=0.05)
    assert found[0] < 2.55


def test_dev_chooses_what_is_kept(names: Corpus) -> None:
    """With early stopping the point of the least dev NLL is kept, not the last."""
    few = names.take(np.arange(6))
    rest = names.take(np.arange(6, 60))
    model = made("embedding=16,heads=2,steps=400,learning_rate=0.03,batch=6,early_stopping=true")
    told: list[float] = []

    def checkpoint(current: Any) -> float:
        told.append(evaluate.score(current, rest, None).nll or np.inf)
        return told[-1]

    model.fit(few, few, Trial(steps=400, on_checkpoint=checkpoint))
    assert len(told) > 4
    assert min(told) < told[-1] - 0.1
    assert evaluate.score(model, rest, None).nll == pytest.approx(min(told), abs=1e-6)


def test_running_text(letters: Alphabet) -> None:
    """Windows of a text are learned: of one that repeats four letters every next one is nearly certain."""
    tokens = np.concatenate([[0], np.tile(letters.encode("abcd"), 100)]).astype(np.uint8)
    text = Corpus(tokens, np.array([0, 400]), letters, "text")
    model = made("embedding=16,heads=2,block=8,windows=4,schedule=constant,warmup=0,early_stopping=false")
    model.fit(text, text, trial := Trial(steps=150))
    assert trial.targets_consumed == 150 * 4 * 8
    assert np.exp(model.log_probs(letters.encode("abcdab")[None])[0, -1, letters.encode("c")[0]]) > 0.9


def test_the_harness_accepts_documents_longer_than_the_block(letters: Alphabet) -> None:
    """Blind and whole rows agree, so that the row is no `invalid` one."""
    rng = np.random.default_rng(2)
    words = ["".join(rng.choice(list("abc"), n)) for n in (13, 4, 9, 21)]
    corpus = Corpus.from_documents(words, letters)
    model = made("embedding=16,heads=2,block=6")
    assert agreement.disagreement(model, corpus, None, 1e-4, rng) is None


def test_what_it_has_not_is_refused(names: Corpus) -> None:
    """One line that names the option and the backend that has it."""
    with pytest.raises(UsageError, match=r"attention_dropout=0\.1 is not for @numba: 0, or @torch"):
        made("attention_dropout=0.1").fit(names, names, Trial(steps=2))


# ---- dropout


def dropped(model: ours.TransformerNumba, names: Corpus, state: int) -> Any:
    """The loss at a vector of parameters, its gradient and the masks, for a state of the generator."""
    config, pieces = model.config, all_pieces(names, 16)[:, 3:20]
    (flat, net), (slope, grad) = ours.network(27, config), ours.network(27, config)
    ours.put(net, model.params, 27, config)

    def loss(at: Any) -> Any:
        flat[:] = at
        work = ours.workspace(27, config, pieces.shape[1], 13, state)
        value = loss_and_gradients(
            net, grad, names.tokens, *pieces, np.float32(1 / 100), np.float32(config["embedding"]), work
        )
        return value, slope.copy(), work.masks

    return loss, flat.copy()


@pytest.mark.parametrize("options", ["norm=rms", f"{EVERYTHING},init=torch"])
def test_gradients_are_those_of_the_loss_with_its_masks(names: Corpus, options: str) -> None:
    """With dropout, along a random direction: its slope is that of two losses."""
    model = made(f"embedding=12,heads=2,layers=2,block=16,dropout=0.3,{options}")
    loss, at = dropped(model, names, 12345)
    value, slope, masks = loss(at)
    way = np.random.default_rng(0).standard_normal(at.shape) * (slope != 0) * 2e-3
    (above, _, again), (below, _, _) = loss(at + way), loss(at - way)
    assert (masks == again).all()
    assert (above - below) / 2 == pytest.approx(float(slope @ way), rel=0.01)
    assert loss(at)[0] == value


def test_masks_drop_a_share_and_keep_the_mean(names: Corpus) -> None:
    """A share `dropout` is 0, the rest is scaled up; other states draw others, and reading drops nothing."""
    model = made("embedding=32,heads=2,layers=2,block=16,dropout=0.3")
    loss, at = dropped(model, names, 5)
    masks = loss(at)[2]
    used = masks[:, :60]
    assert set(np.unique(used)) == {np.float32(0), np.float32(1) / (np.float32(1) - np.float32(0.3))}
    assert (used == 0).mean() == pytest.approx(0.3, abs=0.03)
    assert (used[0] != used[1]).any()
    assert (dropped(model, names, 6)[0](at)[2] != masks).any()
    still = made("embedding=32,heads=2,layers=2,block=16")
    still.params = model.params
    inputs = np.array([[0, 3, 1, 20]])
    assert (model.log_probs(inputs) == still.log_probs(inputs)).all()


def test_a_rate_that_is_too_high_diverges(names: Corpus) -> None:
    """The step is named at which the loss is no longer finite."""
    model = made("preset=karpathy,learning_rate=1e30,schedule=constant")
    with pytest.raises(Diverged, match=r"loss is \S+ after \d+ steps"):
        model.fit(names, names, Trial(steps=200))
