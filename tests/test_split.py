"""Splits against the lecture's own shuffle, torch's permutation and hashing written out."""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import Alphabet, Corpus
from harness.errors import DataError, UnknownName, UsageError
from harness.split import Method, Part, Split, divide, fingerprint, hash_share, parse, torch_randperm

ABC = Alphabet("abc")
DIGITS = Alphabet("0123456789")
METHODS = ("grouped", "lecture", "makemore", "all")  # of line data

quick = settings(deadline=None, max_examples=50)
lines_of_abc = st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=40)


def texts(part: Corpus | Part) -> list[str]:
    """The documents of a part, in its order."""
    corpus = part if isinstance(part, Corpus) else part.corpus
    return [corpus.text(i) for i in range(len(corpus))]


def parts(split: Split) -> tuple[list[str], list[str], list[str]]:
    """The documents of train, dev and test."""
    return texts(split.train), texts(split.dev), texts(split.test)


def numbers(n: int) -> list[str]:
    """N distinct documents."""
    return [str(i) for i in range(n)]


# ---- the words of --split


@pytest.mark.parametrize(
    ("text", "method"),
    [
        ("grouped", Method("grouped", 0, (0.8, 0.1, 0.1))),
        ("grouped:seed=3", Method("grouped", 3, (0.8, 0.1, 0.1))),
        ("grouped:seed=1,fractions=0.9,0.05,0.05", Method("grouped", 1, (0.9, 0.05, 0.05))),
        ("grouped:fractions=0.5/0.3/0.1,seed=2", Method("grouped", 2, (0.5, 0.3, 0.1))),
        ("contiguous:fractions=0.7,0.2,0.1", Method("contiguous", 0, (0.7, 0.2, 0.1))),
        ("contiguous:fractions=1,0,0", Method("contiguous", 0, (1.0, 0.0, 0.0))),
        ("lecture", Method("lecture")),
        ("makemore", Method("makemore")),
        ("all", Method("all")),
    ],
)
def test_a_split_is_read_as_written(text: str, method: Method) -> None:
    """Seed and fractions are what the text says, else 0 and 0.8, 0.1, 0.1."""
    assert parse(text) == method


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("groupd", "unknown split 'groupd'; did you mean 'grouped'"),
        ("grouped:sed=1", "unknown option 'sed' of split grouped; did you mean 'seed'"),
        ("contiguous:seed=1", "unknown option 'seed' of split contiguous"),
        ("lecture:seed=1", "unknown option 'seed' of split lecture; there are none"),
    ],
)
def test_an_unknown_word_of_a_split_is_named(text: str, words: str) -> None:
    """A method or an option that does not exist is an `UnknownName` that says which and what is near."""
    with pytest.raises(UnknownName, match=words):
        parse(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("grouped:7", "'7' is not KEY=VALUE"),
        ("grouped:seed=one", "seed is an integer"),
        ("grouped:seed=1,2", "seed is an integer"),
        ("grouped:fractions=0.8,0.2", "three numbers"),
        ("grouped:fractions=a,b,c", "three numbers"),
        ("grouped:fractions=0.9,0.2,-0.1", "must not be negative"),
        ("grouped:fractions=0.8,0.2,0.1", "sum to at most 1"),
        ("grouped:fractions=0.8,nan,0.1", "sum to at most 1"),
        ("grouped:fractions=0,0.5,0.5", "nothing to train on"),
    ],
)
def test_a_split_that_makes_no_sense_is_a_usage_error(text: str, words: str) -> None:
    """A value that cannot be used is one line that says what is wanted."""
    with pytest.raises(UsageError, match=words):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "grouped",
        "grouped:seed=5,fractions=0.5,0.25,0.125",
        "grouped:fractions=0.3333333333,0.3333333333,0.3333333334",
        "contiguous:fractions=0.98765432,0.01,0.001",
        "lecture",
        "makemore",
        "all",
    ],
)
def test_the_name_of_a_split_is_a_split(text: str) -> None:
    """What a record calls its split can be given back to --split and means the same."""
    assert parse(str(parse(text))) == parse(text)


@pytest.mark.parametrize("method", ["lecture", "makemore", "grouped"])
def test_a_split_of_lines_needs_lines(method: str) -> None:
    """Running text cannot be cut by documents."""
    with pytest.raises(UsageError, match="needs lines"):
        divide(["abcabc"], ABC, "text", parse(method))


def test_a_split_of_running_text_needs_running_text() -> None:
    """Lines cannot be cut by characters."""
    with pytest.raises(UsageError, match="needs running text"):
        divide(["abc", "ab"], ABC, "lines", parse("contiguous"))


# ---- grouped


@given(lines_of_abc, st.integers(0, 5))
@quick
def test_equal_documents_stand_on_one_side(documents: list[str], seed: int) -> None:
    """Every document is in one part in the order of the data, and its equals are there too."""
    try:
        split = divide(documents, ABC, "lines", Method("grouped", seed, (0.4, 0.3, 0.3)))
    except DataError:  # nothing fell to train
        return
    found = parts(split)
    assert sum(map(Counter, found), Counter()) == Counter(documents)
    assert all(not set(one) & set(other) for one, other in itertools.combinations(found, 2))
    assert found == tuple([word for word in documents if word in set(part)] for part in found)
    assert split.overlap() == {"dev": 0, "test": 0}


def test_grouped_is_stable_as_data_grows() -> None:
    """New documents, wherever they come in, move no old one to another part."""
    old = numbers(400)
    grown = [f"9{word}" for word in old] + old[::-1] + old[:50]
    for before, after in zip(
        parts(divide(old, DIGITS, "lines", parse("grouped"))),
        parts(divide(grown, DIGITS, "lines", parse("grouped"))),
        strict=True,
    ):
        assert {word for word in after if word in set(old)} == set(before)


def test_the_side_of_a_document_is_sha_256_of_its_text() -> None:
    """A document's share is a hash of seed and text, the same in every version and on every machine."""
    for document, seed in itertools.product(("emma", "", "zoë", "\udc80"), (0, 7)):
        text = f"{seed}\0{document}".encode("utf-8", "surrogatepass")
        share = int(hashlib.sha256(text).hexdigest()[:16], 16) / 16**16
        assert hash_share(document, seed) == share


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (0.7, 0.2, 0.1), (0.5, 0.3, 0.1)])
def test_grouped_parts_have_their_fractions(fractions: tuple[float, float, float]) -> None:
    """Of 20,000 distinct documents each part has its share within four standard deviations."""
    n = 20_000
    found = parts(divide(numbers(n), DIGITS, "lines", Method("grouped", 1, fractions)))
    for part, fraction in zip(found, fractions, strict=True):
        assert abs(len(part) - n * fraction) < 4 * math.sqrt(n * fraction * (1 - fraction))
    if sum(fractions) > 0.999:
        assert sum(map(len, found)) == n


def test_the_seed_of_grouped_draws_other_parts() -> None:
    """Another seed is another cut: about a tenth of a tenth of the documents is in both test parts."""
    one, other = (
        set(parts(divide(numbers(5000), DIGITS, "lines", Method("grouped", seed)))[2]) for seed in (0, 1)
    )
    assert 20 < len(one & other) < 80


# ---- lecture


def shuffled_as_in_the_lecture(words: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """The lecture's own lines: `random.seed(42); random.shuffle(words)`, then two cuts."""
    before = random.getstate()
    words = list(words)
    random.seed(42)
    random.shuffle(words)
    random.setstate(before)
    n1, n2 = int(0.8 * len(words)), int(0.9 * len(words))
    return words[:n1], words[n1:n2], words[n2:]


def test_lecture_is_the_lectures_shuffle(makemore_names: tuple[str, ...], letters: Alphabet) -> None:
    """The three parts hold the lecture's words in the lecture's order."""
    assert parts(divide(makemore_names, letters, "lines", parse("lecture"))) == shuffled_as_in_the_lecture(
        makemore_names
    )


def test_lecture_has_the_published_figures(makemore_names: tuple[str, ...], letters: Alphabet) -> None:
    """Names, targets and overlaps of the lecture's split are the ones that are known of it."""
    split = divide(makemore_names, letters, "lines", parse("lecture"))
    corpora = (split.train, split.dev.corpus, split.test.corpus)
    assert [len(corpus) for corpus in corpora] == [25_626, 3_203, 3_204]
    assert [corpus.targets for corpus in corpora] == [182_625, 22_655, 22_866]
    assert split.overlap() == {"dev": 424, "test": 377}


@pytest.mark.parametrize("n", [2, 9, 10, 101])
def test_lecture_cuts_short_lists_as_the_lecture_does(n: int) -> None:
    """int(.8n) and int(.9n) are rounded down."""
    assert parts(divide(numbers(n), DIGITS, "lines", parse("lecture"))) == shuffled_as_in_the_lecture(
        numbers(n)
    )


def test_lecture_leaves_the_global_generator_alone() -> None:
    """Splitting neither seeds nor draws from Python's global generator."""
    before = random.getstate()
    divide(numbers(30), DIGITS, "lines", parse("lecture"))
    assert random.getstate() == before


# ---- makemore


@pytest.mark.parametrize("n", [1, 2, 3, 10, 999, 32_033])
@pytest.mark.parametrize("seed", [0, 3407, 2**32 - 1])
def test_the_permutation_is_torchs(n: int, seed: int) -> None:
    """`torch_randperm` is `torch.randperm` without torch."""
    torch = pytest.importorskip("torch")
    expected = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()
    assert torch_randperm(n, seed) == expected


@pytest.mark.parametrize(("n", "held"), [(12_000, 1000), (995, 99), (10, 1)])
def test_makemore_holds_out_the_last_of_torchs_permutation(n: int, held: int) -> None:
    """The last 1,000 words of the permutation are test, a tenth of a short list; all others train."""
    torch = pytest.importorskip("torch")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(3407)).tolist()
    documents = numbers(n)
    words = [documents[i] for i in order]
    assert parts(divide(documents, DIGITS, "lines", parse("makemore"))) == (words[:-held], [], words[-held:])


def test_a_model_that_needs_dev_gets_the_last_training_words() -> None:
    """With `uses_dev` the last 1,000 training words are dev; nothing else moves, and the row is marked."""
    without = divide(numbers(12_000), DIGITS, "lines", parse("makemore"))
    with_dev = divide(numbers(12_000), DIGITS, "lines", parse("makemore"), uses_dev=True)
    train, _, test = parts(without)
    assert parts(with_dev) == (train[:-1000], train[-1000:], test)
    assert (without.dev_from_train, with_dev.dev_from_train) == (False, True)


def test_a_model_that_needs_dev_keeps_the_fingerprint() -> None:
    """Rows with and without dev stand in one table: they are measured on the same words."""
    one, other = (
        divide(numbers(500), DIGITS, "lines", parse("makemore"), uses_dev=uses) for uses in (False, True)
    )
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize("method", ["grouped", "lecture", "all"])
def test_uses_dev_changes_no_split_that_has_dev(method: str) -> None:
    """Where there is a dev part already, a model that needs it gets that one."""
    one, other = (
        divide(numbers(100), DIGITS, "lines", parse(method), uses_dev=uses) for uses in (False, True)
    )
    assert parts(one) == parts(other)
    assert (one.fingerprint, other.dev_from_train) == (other.fingerprint, False)


# ---- running text, and everything


@pytest.mark.parametrize(
    ("length", "fractions", "sizes"),
    [
        (1000, (0.8, 0.1, 0.1), (800, 100, 100)),
        (10, (0.7, 0.2, 0.1), (7, 2, 1)),
        (7, (0.5, 0.25, 0.25), (3, 2, 2)),
        (10, (0.5, 0.2, 0.1), (5, 2, 1)),
        (1_115_394, (0.8, 0.1, 0.1), (892_315, 111_539, 111_540)),
    ],
)
def test_contiguous_cuts_by_characters(
    length: int, fractions: tuple[float, float, float], sizes: tuple[int, int, int]
) -> None:
    """Train, dev and test follow each other in the text; ends are rounded down, nothing is lost."""
    text = ("0123456789" * (length // 10 + 1))[:length]
    train, dev, test = parts(divide([text], DIGITS, "text", Method("contiguous", 0, fractions)))
    assert [len(part[0]) for part in (train, dev, test)] == list(sizes)
    assert text.startswith(train[0] + dev[0] + test[0])


@pytest.mark.parametrize(("documents", "kind"), [(["ab", "c", "ab"], "lines"), (["abcab"], "text")])
def test_all_is_in_sample(documents: list[str], kind: str) -> None:
    """Train, dev and test are the whole data, every document is seen, and the split says so."""
    split = divide(documents, ABC, kind, parse("all"))
    assert parts(split) == (documents, documents, documents)
    assert split.overlap() == {"dev": len(documents), "test": len(documents)}
    assert split.in_sample
    assert not divide(numbers(20), DIGITS, "lines", parse("lecture")).in_sample


# ---- empty parts


@pytest.mark.parametrize(
    ("documents", "kind", "method", "dev", "test"),
    [
        (numbers(50), "lines", "makemore", "the makemore split has no dev part", None),
        (
            numbers(50),
            "lines",
            "grouped:fractions=1,0,0",
            "split {} leaves it empty",
            "split {} leaves it empty",
        ),
        (numbers(2), "lines", "lecture", "split {} leaves it empty", None),
        (["0123456789"], "text", "contiguous:fractions=0.9,0.1,0", None, "split {} leaves it empty"),
        (numbers(50), "lines", "lecture", None, None),
    ],
)
def test_an_empty_part_has_a_reason(
    documents: list[str], kind: str, method: str, dev: str | None, test: str | None
) -> None:
    """A part without documents says why; a part with documents has no such reason."""
    split = divide(documents, DIGITS, kind, parse(method))
    expected = [reason and reason.format(parse(method)) for reason in (dev, test)]
    assert [split.dev.absent, split.test.absent] == expected
    for part in (split.dev, split.test):
        assert (part.absent is None) == (part.corpus.targets > 0)
        assert len(part.units) == len(part.seen) == len(part.corpus)


@pytest.mark.parametrize(
    ("documents", "kind", "method"),
    [
        (["1"], "lines", "lecture"),
        (["1"], "lines", "grouped:fractions=1e-9,0,0"),
        (["123"], "text", "contiguous:fractions=0.1,0.4,0.5"),
    ],
)
def test_a_split_without_training_data_is_an_error(documents: list[str], kind: str, method: str) -> None:
    """Where nothing is left to train on, the way out is in the message."""
    with pytest.raises(DataError, match="no training document; use a larger train fraction or more data"):
        divide(documents, DIGITS, kind, parse(method))


# ---- seen documents and units


@given(lines_of_abc.filter(lambda documents: len(documents) > 1), st.sampled_from(["lecture", "all"]))
@quick
def test_seen_documents_stand_in_train(documents: list[str], method: str) -> None:
    """`seen` marks exactly the held-out documents that train has too, and `overlap` counts them."""
    split = divide(documents, ABC, "lines", parse(method))
    for part in (split.dev, split.test):
        assert part.seen.tolist() == [word in texts(split.train) for word in texts(part)]
    assert split.overlap() == {"dev": split.dev.seen.sum(), "test": split.test.seen.sum()}


@given(lines_of_abc.filter(lambda documents: len(documents) > 1), st.sampled_from(["lecture", "all"]))
@quick
def test_equal_documents_are_one_unit(documents: list[str], method: str) -> None:
    """Two held-out documents have one number if and only if they are equal, across dev and test."""
    split = divide(documents, ABC, "lines", parse(method))
    held = texts(split.dev) + texts(split.test)
    units = split.dev.units.tolist() + split.test.units.tolist()
    assert len(set(zip(held, units, strict=True))) == len(set(held)) == len(set(units))


# ---- purity and fingerprints


@pytest.mark.parametrize("method", METHODS)
def test_a_split_changes_no_input(method: str) -> None:
    """The documents are as they were; the parts come again from the same words."""
    documents = numbers(60)
    once = parts(divide(documents, DIGITS, "lines", parse(method)))
    assert documents == numbers(60)
    assert parts(divide(documents, DIGITS, "lines", parse(method))) == once


def test_a_split_has_one_fingerprint() -> None:
    """The same documents, alphabet and method give the same fingerprint, in this version and the next."""
    pieces = (["ab", "c"], ["b"], ["ca"])
    content = b"lecture\nlines\n4\nabc"
    for piece in pieces:
        content += f"\n{len(piece)}\n".encode()
        for document in piece:
            content += len(document).to_bytes(8, "little") + document.encode()
    assert fingerprint("lecture", ABC, "lines", pieces) == hashlib.sha256(content).hexdigest()


def test_whatever_a_score_depends_on_is_in_the_fingerprint() -> None:
    """Method, alphabet, kind, order, content and the cuts between parts and documents all count."""
    pieces = (["ab", "c"], ["b"], ["ca"])
    variants = [
        fingerprint("lecture", ABC, "lines", pieces),
        fingerprint("grouped:seed=0,fractions=0.8,0.1,0.1", ABC, "lines", pieces),
        fingerprint("lecture", Alphabet("abcd"), "lines", pieces),
        fingerprint("lecture", Alphabet("acb"), "lines", pieces),
        fingerprint("lecture", ABC, "text", pieces),
        fingerprint("lecture", ABC, "lines", (["c", "ab"], ["b"], ["ca"])),
        fingerprint("lecture", ABC, "lines", (["ab", "c"], ["ca"], ["b"])),
        fingerprint("lecture", ABC, "lines", (["ab", "c"], ["b", "ca"], [])),
        fingerprint("lecture", ABC, "lines", (["a", "bc"], ["b"], ["ca"])),
        fingerprint("lecture", ABC, "lines", (["ab", "c"], ["b"], ["cb"])),
        fingerprint("lecture", ABC, "lines", (["ab", "c"], ["b"], ["ca", ""])),
    ]
    assert len(set(variants)) == len(variants)


def test_divide_fingerprints_its_own_parts() -> None:
    """The fingerprint of a split moves with its seed, its alphabet, its method and the order of the data."""
    documents = numbers(200)
    wider = Alphabet("0123456789x")
    splits = [
        divide(documents, DIGITS, "lines", parse("grouped")),
        divide(documents, DIGITS, "lines", parse("grouped:seed=1")),
        divide(documents, DIGITS, "lines", parse("lecture")),
        divide(documents, wider, "lines", parse("grouped")),
        divide(documents[::-1], DIGITS, "lines", parse("grouped")),
        divide(documents[1:], DIGITS, "lines", parse("grouped")),
    ]
    assert len({split.fingerprint for split in splits}) == len(splits)
    again = divide(documents, DIGITS, "lines", parse("grouped"))
    assert again.fingerprint == splits[0].fingerprint
    assert again.fingerprint == fingerprint(again.method, DIGITS, "lines", parts(again))


def test_parts_hold_tokens_of_the_given_alphabet() -> None:
    """Every part is encoded with the whole alphabet, whatever characters stand in it."""
    split = divide(numbers(50), DIGITS, "lines", parse("lecture"))
    for corpus in (split.train, split.dev.corpus, split.test.corpus):
        assert corpus.alphabet is DIGITS
        assert corpus.tokens.dtype == np.uint8
