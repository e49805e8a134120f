"""`Alphabet` and `Corpus` against a plain Python reading of the same documents."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import Alphabet, Corpus, corpus
from harness.corpus import Kind, unique_rows
from harness.errors import DataError
from harness.split import divide, parse

ABC = Alphabet("abc")

documents_of_abc = st.lists(st.text("abc", max_size=6), max_size=6)
quick = settings(deadline=None, max_examples=50)


def spell(document: str, alphabet: Alphabet = ABC) -> list[int]:
    """A document's tokens, one character at a time."""
    return [alphabet.characters.index(character) + 1 for character in document]


def expected_windows(
    documents: Sequence[str], context: int, kind: Kind = "lines", alphabet: Alphabet = ABC
) -> tuple[list[tuple[int, ...]], list[int]]:
    """Every target with the characters before it, by loops."""
    windows, targets = [], []
    for document in documents:
        history = [0] * context + [0, *spell(document, alphabet)]
        following = [*spell(document, alphabet), 0] if kind == "lines" else spell(document, alphabet)
        for position, target in enumerate(following):
            windows.append(tuple(history[position + 1 : position + 1 + context]))
            targets.append(target)
    return windows, targets


def as_tuples(rows: np.ndarray) -> list[tuple[int, ...]]:
    """The rows of an array as they can be compared and counted."""
    return [tuple(row) for row in rows.tolist()]


# ---- the alphabet


def test_tokens_follow_the_order_of_the_characters() -> None:
    """Character i of the alphabet is token i + 1, and V counts the boundary."""
    alphabet = Alphabet("zay")
    assert alphabet.encode("yazz").tolist() == [3, 2, 1, 1]
    assert alphabet.size == 4


@pytest.mark.parametrize("foreign", ["A", "d", "\n", "\0", "é", "🙂", "\ud800", "\U0010ffff"])
def test_the_first_foreign_character_is_named(foreign: str) -> None:
    """Below, among and above those of the alphabet, in any of the pieces that a text is encoded in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "AT_ONCE", 3)
        with pytest.raises(DataError, match=re.escape(f"{foreign!a} is not in the alphabet 'acz'")):
            Alphabet("acz").encode(f"aczzca{foreign}q")


def test_pieces_of_a_text_are_one_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pieces documents are encoded in, their tokens are the same."""
    whole = Corpus.from_documents(["abc", "", "cab"], ABC).tokens.tolist()
    monkeypatch.setattr(corpus, "AT_ONCE", 2)
    assert Corpus.from_documents(["abc", "", "cab"], ABC).tokens.tolist() == whole
    assert whole == [0, 1, 2, 3, 0, 0, 3, 1, 2, 0]


@given(st.text("xyzé界🙂"))
@quick
def test_decode_undoes_encode(text: str) -> None:
    """A text that is encoded and decoded is the same text."""
    alphabet = Alphabet("🙂é界zyx")
    assert alphabet.decode(alphabet.encode(text)) == text


def test_decode_leaves_boundaries_out() -> None:
    """Boundaries are no characters of the text."""
    assert ABC.decode([0, 1, 0, 3, 0]) == "ac"


def test_encode_names_a_foreign_character() -> None:
    """A character outside the alphabet is an error that names it."""
    with pytest.raises(DataError, match=r"'x' is not in the alphabet 'abc'"):
        ABC.encode("abxa")


def test_an_alphabet_names_a_character_once() -> None:
    """Two tokens for one character are refused."""
    with pytest.raises(DataError, match="twice"):
        Alphabet("abca")


def test_an_alphabet_fits_sixteen_bits() -> None:
    """65,534 characters and the boundary are the most; one more is refused."""
    characters = "".join(map(chr, range(65_535)))
    largest = Alphabet(characters[:-1])
    corpus = Corpus.from_documents([characters[-2]], largest, "text")
    assert corpus.tokens.tolist() == [0, 65_534]
    with pytest.raises(DataError, match="65,534"):
        Alphabet(characters)


# ---- from documents


@given(documents_of_abc)
@quick
def test_every_line_ends_in_a_boundary(documents: list[str]) -> None:
    """Tokens are one boundary, then each document and its closing boundary; offsets are their starts."""
    corpus = Corpus.from_documents(documents, ABC)
    tokens, offsets = [0], [0]
    for document in documents:
        tokens += [*spell(document), 0]
        offsets.append(len(tokens) - 1)
    assert corpus.tokens.tolist() == tokens
    assert corpus.offsets.tolist() == offsets


@given(documents_of_abc)
@quick
def test_a_corpus_gives_its_documents_back(documents: list[str]) -> None:
    """`text`, `len`, `lengths` and `targets` are those of the documents, ends included."""
    corpus = Corpus.from_documents(documents, ABC)
    assert [corpus.text(i) for i in range(len(corpus))] == documents
    assert corpus.lengths.tolist() == [len(document) + 1 for document in documents]
    assert corpus.targets == sum(len(document) + 1 for document in documents)


def test_running_text_has_no_closing_boundary() -> None:
    """Running text is one document: a boundary before it, none after it, line breaks are characters."""
    corpus = Corpus.from_documents(["ab\nb"], Alphabet("\nab"), "text")
    assert corpus.tokens.tolist() == [0, 2, 3, 1, 3]
    assert corpus.offsets.tolist() == [0, 4]
    assert corpus.text(0) == "ab\nb"


def test_drawn_documents_are_lines_whatever_they_hold() -> None:
    """As `from_documents`, but a line break is a character like others where the alphabet has it."""
    documents = ["ab", "", "cab"]
    drawn, read = Corpus.from_lines(documents, ABC), Corpus.from_documents(documents, ABC)
    assert drawn.tokens.tolist() == read.tokens.tolist()
    assert drawn.tokens.dtype == read.tokens.dtype
    assert drawn.offsets.tolist() == read.offsets.tolist()
    assert Corpus.from_lines(["a\nb"], Alphabet("\nab")).tokens.tolist() == [0, 2, 1, 3, 0]
    assert len(Corpus.from_lines([], ABC)) == 0


def test_running_text_is_one_document() -> None:
    """Two documents of running text are refused."""
    with pytest.raises(DataError, match="one document"):
        Corpus.from_documents(["ab", "c"], ABC, "text")


@pytest.mark.parametrize(("characters", "dtype"), [(255, np.uint8), (256, np.uint16)])
def test_tokens_are_as_narrow_as_the_alphabet_allows(characters: int, dtype: type) -> None:
    """A byte a character up to V = 256, two from there on, and the last character survives."""
    alphabet = Alphabet("".join(chr(1000 + i) for i in range(characters)))
    corpus = Corpus.from_documents([alphabet.characters[-1]], alphabet)
    assert corpus.tokens.dtype == dtype
    assert corpus.tokens.tolist() == [0, characters, 0]


def test_from_documents_names_a_foreign_character() -> None:
    """A document with a character outside the alphabet is an error that names it."""
    with pytest.raises(DataError, match="'d' is not in the alphabet 'abc'"):
        Corpus.from_documents(["ab", "cd"], ABC)


def test_lines_need_an_alphabet_without_a_line_break() -> None:
    """A line break cannot be both a character and the end of a line."""
    with pytest.raises(DataError, match="line break"):
        Corpus.from_documents(["ab"], Alphabet("ab\n"))


def test_a_line_break_inside_a_line_is_refused() -> None:
    """A document of line data holds no boundary but its last."""
    with pytest.raises(DataError):
        Corpus.from_documents(["a\nb"], ABC)


# ---- windows


@given(documents_of_abc, st.integers(0, 9))
@quick
def test_windows_hold_what_stands_before_each_target(documents: list[str], context: int) -> None:
    """Each target has the `context` characters before it in its own document, oldest first."""
    windows, targets = Corpus.from_documents(documents, ABC).windows(context)
    expected, following = expected_windows(documents, context)
    assert windows.shape == (len(following), context)
    assert as_tuples(windows) == expected
    assert targets.tolist() == following
    assert windows.dtype == targets.dtype == np.int64


@given(st.text("abc", max_size=8), st.integers(0, 9))
@quick
def test_windows_of_running_text(text: str, context: int) -> None:
    """Running text has one window a character and none for an end."""
    windows, targets = Corpus.from_documents([text], ABC, "text").windows(context)
    assert (as_tuples(windows), targets.tolist()) == expected_windows([text], context, "text")


@given(documents_of_abc)
@quick
def test_unique_windows_are_the_sorted_set_of_windows(documents: list[str]) -> None:
    """Distinct contexts stand once, in order, and the inverse leads each target back to its own."""
    corpus = Corpus.from_documents(documents, ABC)
    for context in (2, 0, 1, 5, 2):  # the same corpus, so that one context's cache serves no other
        windows, _ = expected_windows(documents, context)
        contexts, inverse = corpus.unique_windows(context)
        assert as_tuples(contexts) == sorted(set(windows))
        assert as_tuples(contexts[inverse]) == windows
        assert contexts.dtype == inverse.dtype == np.int64


@given(documents_of_abc)
@quick
def test_weighted_windows_count_what_follows_each_context(documents: list[str]) -> None:
    """The sparse counts are those of (context, next character) pairs, each pair once."""
    corpus = Corpus.from_documents(documents, ABC)
    for context in (1, 3, 0, 1):
        contexts, rows, following, count = corpus.weighted_windows(context)
        pairs = list(zip(as_tuples(contexts[rows]), following.tolist(), strict=True))
        assert len(set(pairs)) == len(pairs)
        assert dict(zip(pairs, count.tolist(), strict=True)) == Counter(
            zip(*expected_windows(documents, context), strict=True)
        )


@pytest.mark.parametrize("method", ["windows", "unique_windows", "weighted_windows"])
def test_what_one_caller_writes_no_other_reads(small: Corpus, method: str) -> None:
    """A model that changes its windows changes them for itself: the corpus serves every model the same."""
    fresh = [array.tolist() for array in getattr(small, method)(2)]
    for array in getattr(small, method)(2):
        if array.flags.writeable:
            array += 1
    assert [array.tolist() for array in getattr(small, method)(2)] == fresh


@pytest.mark.parametrize("context", [12, 13, 14, 26, 40])
def test_contexts_wider_than_one_packed_key(letters: Alphabet, context: int) -> None:
    """Contexts that differ in their oldest or their newest character alone are told apart."""
    middle = "zyxwvutsrqponmlkjihgfedcba" * 2
    documents = [first + middle[: context - 1] + last for first in "azm" for last in "azm"]
    contexts, inverse = Corpus.from_documents(documents, letters).unique_windows(context)
    windows, _ = expected_windows(documents, context, alphabet=letters)
    assert as_tuples(contexts) == sorted(set(windows))
    assert as_tuples(contexts[inverse]) == windows


def test_the_lectures_training_names_have_5438_contexts(makemore_names: tuple[str, ...]) -> None:
    """182,625 targets of the lecture's training part share 5,438 contexts of three characters."""
    train = divide(makemore_names, Alphabet("abcdefghijklmnopqrstuvwxyz"), "lines", parse("lecture")).train
    contexts, _, _, count = train.weighted_windows(3)
    assert (train.targets, len(contexts), count.sum()) == (182_625, 5_438, 182_625)


@pytest.mark.parametrize(
    ("base", "width"),
    [(2, 130), (4, 62), (27, 27), (256, 16), (65_535, 10), (27, 1), (3, 0)],
)
def test_unique_rows_is_the_sorted_set_of_rows(base: int, width: int) -> None:
    """However many packed keys a row takes, its value decides: the extreme digits too."""
    rng = np.random.default_rng(7)
    few = rng.choice([0, 1, base - 2, base - 1], (40, width))
    twice = rng.permutation(np.vstack([few, few[:25]]))
    if width:
        twice[:20, -1] = base - 1 - twice[:20, -1]  # rows that differ in their last column alone
    rows, inverse = unique_rows(twice, base)
    assert as_tuples(rows) == sorted(set(as_tuples(twice)))
    assert as_tuples(rows[inverse]) == as_tuples(twice)


@pytest.mark.parametrize("width", [0, 3, 50])
def test_unique_rows_of_nothing_is_nothing(width: int) -> None:
    """No rows have no distinct rows."""
    rows, inverse = unique_rows(np.zeros((0, width), np.int64), 27)
    assert rows.shape == (0, width)
    assert inverse.shape == (0,)


# ---- batches


@given(documents_of_abc, st.integers(1, 7))
@quick
def test_padded_gives_every_document_once_and_whole(documents: list[str], batch: int) -> None:
    """All documents come, shortest first and ties in order, right-padded to their batch's longest."""
    in_order = sorted(documents, key=len)
    batches = list(Corpus.from_documents(documents, ABC).padded(batch))
    assert [len(b.inputs) for b in batches] == [
        len(in_order[first : first + batch]) for first in range(0, len(in_order), batch)
    ]
    for number, (inputs, targets, mask) in enumerate(batches):
        part = in_order[number * batch : (number + 1) * batch]
        width = max(len(document) + 1 for document in part)
        padding = [[0] * (width - 1 - len(document)) for document in part]
        rows = list(zip(part, padding, strict=True))
        assert inputs.tolist() == [[0, *spell(document), *pad] for document, pad in rows]
        assert targets.tolist() == [[*spell(document), 0, *pad] for document, pad in rows]
        assert mask.tolist() == [[i <= len(document) for i in range(width)] for document in part]


def test_a_batch_keeps_the_order_asked_for(small: Corpus) -> None:
    """`batch` puts the documents side by side as they were named, a document twice if need be."""
    batch = small.batch(np.array([5, 0, 5]))
    texts = [small.alphabet.decode(row[mask]) for row, mask in zip(batch.targets, batch.mask, strict=True)]
    assert texts == ["bo", "emma", "bo"]


def test_a_batch_of_running_text_scores_no_end() -> None:
    """Running text in a batch has its characters as targets and nothing after them."""
    inputs, targets, mask = Corpus.from_documents(["abca"], ABC, "text").batch(np.array([0]))
    assert inputs.tolist() == [[0, 1, 2, 3]]
    assert targets.tolist() == [[1, 2, 3, 1]]
    assert mask.all()


@given(documents_of_abc, st.data())
@quick
def test_take_is_the_corpus_of_the_chosen_documents(documents: list[str], data: st.DataObject) -> None:
    """`take` equals encoding the chosen documents in the order given."""
    chosen = data.draw(st.lists(st.integers(0, len(documents) - 1), max_size=8) if documents else st.just([]))
    taken = Corpus.from_documents(documents, ABC).take(np.array(chosen, np.int64))
    direct = Corpus.from_documents([documents[i] for i in chosen], ABC)
    assert taken.tokens.tolist() == direct.tokens.tolist()
    assert taken.offsets.tolist() == direct.offsets.tolist()
    assert (taken.tokens.dtype, taken.offsets.dtype) == (direct.tokens.dtype, direct.offsets.dtype)
