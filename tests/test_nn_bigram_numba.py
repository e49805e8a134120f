"""Counting pairs and the network on counts, compiled, against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness import Alphabet, Corpus, Diverged, Trial, registry, selection
from harness_plugins import count_bigram
from harness_plugins.nn_bigram import NeuralBigram
from harness_plugins.nn_bigram_numba import NeuralBigramNumba
from harness_plugins.pair_kernels import pair_counts


def corpus_of(characters: int, length: int) -> Corpus:
    """Running text of some length over so many characters, the last of them among it."""
    alphabet = Alphabet("".join(chr(0x100 + i) for i in range(characters)))
    rng = np.random.default_rng(length)
    text = "".join(alphabet.characters[i] for i in rng.integers(0, characters, length))
    return Corpus.from_documents([text + alphabet.characters[-1] * 9], alphabet, "text")


@pytest.mark.parametrize("characters", [1, 26, 31, 32, 255, 256, 300])
@pytest.mark.parametrize("length", [0, 1, 6, 7, 8, 15, 16, 17, 5003])
def test_pairs_are_counted_as_by_numpy(characters: int, length: int) -> None:
    """With 5 and with 8 bits a character, with two bytes, and with any number of characters left over."""
    corpus = corpus_of(characters, length)
    assert np.array_equal(pair_counts(corpus), count_bigram.pair_counts(corpus))


def test_an_empty_corpus_has_no_pairs(letters: Alphabet) -> None:
    """A token alone is no pair."""
    assert pair_counts(Corpus.from_documents([], letters)).sum() == 0


def made(kind: type[Any], options: str) -> Any:
    """A model of 27 characters."""
    config = selection.choose(registry.discover(), [f"nn-bigram:{options}"])[0].config
    return kind(27, config, np.random.default_rng(5))


@pytest.mark.parametrize("options", ["preset=lecture,learning_rate=5", "init=normal,l2=0.1", "momentum=0.5"])
def test_training_is_numpy_s(small: Corpus, options: str) -> None:
    """The same loss before every step, and the same weights after 60, to 1e-12."""
    ours, oracle = made(NeuralBigramNumba, options), made(NeuralBigram, options)
    seen: dict[str, list[float]] = {"ours": [], "oracle": []}
    for name, model in (("ours", ours), ("oracle", oracle)):
        trial = Trial(steps=60, on_progress=lambda done, total, said, to=name: seen[to].append(said["loss"]))
        model.fit(small, small, trial)
        assert trial.targets_consumed == 60 * small.targets
    np.testing.assert_allclose(seen["ours"], seen["oracle"], rtol=1e-12)
    np.testing.assert_allclose(ours.params["W"], oracle.params["W"], atol=1e-12)


def test_divergence_is_said(small: Corpus) -> None:
    """A rate that is too large ends the fit, with the step at which the loss was no number."""
    model = made(NeuralBigramNumba, "learning_rate=1e300")
    with pytest.raises(Diverged, match=r"after [1-9]\d* steps: lower learning_rate"):
        model.fit(small, small, Trial(steps=6400))
