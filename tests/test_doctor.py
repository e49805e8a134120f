"""Numbers made wrong on purpose, by plain Python: the doctor names what was done, and nothing else."""

from __future__ import annotations

import json
import math
import random
import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from harness import author_file, causes, doctor, reference, registry, selection, split
from harness.causes import Scored
from harness.cli import main
from harness.dataset import Dataset, open_file
from harness.errors import UsageError

Documents = list[list[float]]  # −ln p of each target, document by document
DRAW = random.Random(7)
WORDS = ["".join(DRAW.choice("abcde") for _ in range(DRAW.randint(1, 9))) for _ in range(1_203)]
SEEN = [DRAW.random() < 0.2 for _ in WORDS]
NATS: Documents = [
    [DRAW.uniform(0.2, 5) for _ in word] + [DRAW.uniform(0.2, 2) + len(word) / 5] for word in WORDS
]


def scored(documents: Documents = NATS) -> Scored:
    """The same as arrays."""
    flat = np.array([value for row in documents for value in row])
    lengths = np.array([len(row) for row in documents])
    return Scored(flat, lengths, texts=tuple(WORDS), seen=np.array(SEEN))


def only(found: Scored) -> doctor.Scores:
    """Scores that no other split or part is known of."""
    return lambda how, part: None if how or part else found


def mean(values: Sequence[float]) -> float:
    """Added up and divided."""
    return sum(values) / len(values)


def flat(documents: Documents) -> list[float]:
    """All targets."""
    return [value for row in documents for value in row]


def in_batches(rows: Sequence[list[float]], size: int) -> list[list[list[float]]]:
    """So many documents at a time."""
    return [list(rows[first : first + size]) for first in range(0, len(rows), size)]


def single(value: float) -> float:
    """Rounded to float32."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def added_in_single_precision(values: Sequence[float]) -> float:
    """Each sum rounded to float32, divided once."""
    total = 0.0
    for value in values:
        total = single(total + single(value))
    return total / len(values)


def first_of_equals(documents: Documents) -> Documents:
    """Every word where it first stands."""
    kept, known = [], set()
    for word, row in zip(WORDS, documents, strict=True):
        if word not in known:
            kept.append(row)
        known.add(word)
    return kept


LONGEST = max(len(row) for row in NATS)

WRONG: dict[str, Callable[[], float]] = {
    "bits, not nats": lambda: mean([value / math.log(2) for value in flat(NATS)]),
    "perplexity, not nats": lambda: math.exp(mean(flat(NATS))),
    "end token left out": lambda: mean(flat([row[:-1] for row in NATS])),
    "end token scored, not counted": lambda: sum(flat(NATS)) / sum(map(len, WORDS)),
    "mean of batch means, 32 words each": lambda: mean([mean(flat(b)) for b in in_batches(NATS, 32)]),
    "mean of batch means, 32 targets each": lambda: mean(
        [mean(flat(batch)) for batch in in_batches([[value] for value in flat(NATS)], 32)]
    ),
    "mean of every word's own mean": lambda: mean([mean(row) for row in NATS]),
    "nats per word, not per character": lambda: mean([sum(row) for row in NATS]),
    "padding counted, to the longest word": lambda: mean(
        flat([row + [0.0] * (LONGEST - len(row)) for row in NATS])
    ),
    "padding counted, in batches of 32 words": lambda: mean(
        [
            mean(flat([row + [0.0] * (max(map(len, batch)) - len(row)) for row in batch]))
            for batch in in_batches(NATS, 32)
        ]
    ),
    "summed one by one in float32": lambda: added_in_single_precision(flat(NATS)),
    "the first 1,000 documents only": lambda: mean(flat(NATS[:1000])),
    "equal documents counted once": lambda: mean(flat(first_of_equals(NATS))),
    "documents that stand in train left out": lambda: mean(
        flat([row for row, seen in zip(NATS, SEEN, strict=True) if not seen])
    ),
}


def names(diagnosis: doctor.Diagnosis) -> list[str]:
    """The explanations."""
    return [found.name for found in diagnosis.found]


# ---- one cause


def test_every_cause_has_its_wrong_number() -> None:
    """The table of this file holds all causes that need nothing but scores."""
    assert {cause.name for cause in causes.arithmetic()} == set(WRONG)


@pytest.mark.parametrize("name", WRONG)
def test_what_was_done_is_named(name: str) -> None:
    """The wrong number to ten digits has one explanation: what was done."""
    claim = doctor.read_claim(f"{WRONG[name]():.10f}")
    assert names(doctor.diagnose(claim, only(scored()), causes.arithmetic())) == [name]


def test_another_size_of_batch() -> None:
    """Batches are as large as is said."""
    claim = doctor.read_claim(f"{mean([mean(flat(batch)) for batch in in_batches(NATS, 50)]):.10f}")
    (found,) = names(doctor.diagnose(claim, only(scored()), causes.arithmetic(50)))
    assert found == "mean of batch means, 50 words each"


# ---- two causes, none, several


def test_two_causes_together_are_named() -> None:
    """End left out, of the first 1,000 words, in bits: any two of these; three are not looked for."""
    ends = mean(flat([row[:-1] for row in NATS[:1000]]))
    claim = doctor.read_claim(f"{ends:.10f}")
    assert names(doctor.diagnose(claim, only(scored()), causes.arithmetic())) == [
        "the first 1,000 documents only + end token left out"
    ]
    claim = doctor.read_claim(f"{ends / math.log(2):.10f}")
    assert names(doctor.diagnose(claim, only(scored()), causes.arithmetic())) == []


def test_the_protocol_s_own_number_needs_no_cause() -> None:
    """It agrees, and nothing is looked for."""
    found = doctor.diagnose(doctor.read_claim(f"{mean(flat(NATS)):.3f}"), only(scored()), causes.arithmetic())
    assert found.agrees
    assert (names(found), found.tried) == ([], 1)


def test_a_number_that_nothing_explains() -> None:
    """No explanation, and the nearest of all figures that were tried."""
    found = doctor.diagnose(doctor.read_claim("77.77777777"), only(scored()), causes.arithmetic())
    assert names(found) == []
    assert found.tried > 50
    assert found.nearest.value == max(
        (each.value for many in (1, 2) for each in doctor.figures(only(scored()), causes.arithmetic(), many)),
        key=lambda value: -abs(value - 77.77777777),
    )


def test_few_digits_have_several_explanations_the_usual_first() -> None:
    """Both ways of counting padding are 1.47 to two digits; which is nearer says nothing."""
    two = ["padding counted, to the longest word", "padding counted, in batches of 32 words"]
    assert [round(WRONG[name](), 2) for name in two] == [1.47, 1.47]
    for claim in (doctor.read_claim("1.47"), doctor.Claim(WRONG[two[1]](), 0.002)):
        assert names(doctor.diagnose(claim, only(scored()), causes.arithmetic())) == two


@pytest.mark.parametrize(
    ("text", "nll", "within"),
    [("2.36", 2.36, 0.005), ("2.4540", 2.454, 0.00005), ("3", 3.0, 0.5), ("236e-2", 2.36, 0.005)],
)
def test_the_digits_say_how_near_is_near(text: str, nll: float, within: float) -> None:
    """Half a unit of the last digit that was printed."""
    claim = doctor.read_claim(text)
    assert [claim.nll, claim.within] == pytest.approx([nll, within])
    assert claim.explained_by(nll + 0.999 * within)
    assert claim.explained_by(nll - within)
    assert not claim.explained_by(nll + 1.01 * within)


@pytest.mark.parametrize(
    ("text", "within", "low", "high"),
    [
        ("2.46024", None, "2.460235", "2.460245"),
        ("3.0", None, "2.95", "3.05"),
        ("2", None, "1.5", "2.5"),
        ("24e-1", None, "2.35", "2.45"),
        ("2.4", 0.001, "2.399", "2.401"),
    ],
)
def test_the_window_is_shown_in_decimal(text: str, within: float | None, low: str, high: str) -> None:
    """No digit of the two bounds is lost or made up, and the number stands as it was printed."""
    claim = doctor.read_claim(text, within)
    assert (claim.text, claim.window) == (text, (low, high))


@pytest.mark.parametrize("text", ["", "two", "nan", "inf", "-1", "2,36", "0x1p1"])
def test_what_is_no_number_is_refused(text: str) -> None:
    """One line that names the option."""
    with pytest.raises(UsageError, match="--nll"):
        doctor.read_claim(text)


# ---- causes that need a model


def lines(tmp_path: Path) -> Dataset:
    """Words of which many stand more than once, as a dataset."""
    path = tmp_path / "words.txt"
    path.write_text("".join(f"{word}\n" for word in WORDS))
    return open_file(path)


def bigram(train: Sequence[str], test: Sequence[str]) -> float:
    """Counts + 1 in plain Python, scored on whole words, the end counted."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for word in train:
        for a, b in zip("." + word, word + ".", strict=True):
            counts[a][b] += 1
    scores = [
        -math.log((counts[a][b] + 1) / (counts[a].total() + 6))
        for word in test
        for a, b in zip("." + word, word + ".", strict=True)
    ]
    return mean(scores)


def cut(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    """At 80 and 90 %."""
    n = len(words)
    return words[: int(0.8 * n)], words[int(0.8 * n) : int(0.9 * n)], words[int(0.9 * n) :]


def shuffled(words: Sequence[str], times: int) -> list[str]:
    """In place, with the seed set anew each time."""
    found = list(words)
    for _ in range(times):
        random.seed(42)
        random.shuffle(found)
    return found


def of(parts: tuple[Sequence[str], Sequence[str], Sequence[str]], name: str = "test") -> float:
    """Trained on the first part, scored on one of them."""
    return bigram(parts[0], dict(zip(("train", "dev", "test"), parts, strict=True))[name])


def ours(method: str) -> float:
    """By one of our own splits."""
    data = [str(word) for word in WORDS]
    from harness.corpus import Alphabet

    parts = split.divide(data, Alphabet("abcde"), "lines", split.parse(method))
    train, test = ([c.text(i) for i in range(len(c))] for c in (parts.train, parts.test.corpus))
    return bigram(train, test)


FITTED: dict[str, Callable[[], float]] = {
    "in-sample: the training documents": lambda: of(cut(shuffled(WORDS, 1)), "train"),
    "dev, not test": lambda: of(cut(shuffled(WORDS, 1)), "dev"),
    "trained and scored on all documents": lambda: bigram(WORDS, WORDS),
    "split as makemore.py (1,000 test words)": lambda: ours("makemore"),
    "split by hash (grouped)": lambda: ours("grouped"),
    "equal documents removed before the split": lambda: of(cut(shuffled(list(dict.fromkeys(WORDS)), 1))),
    "the list shuffled twice in place": lambda: of(cut(shuffled(WORDS, 2))),
    "the list shuffled three times in place": lambda: of(cut(shuffled(WORDS, 3))),
    "the list shuffled four times in place": lambda: of(cut(shuffled(WORDS, 4))),
    "the list shuffled five times in place": lambda: of(cut(shuffled(WORDS, 5))),
    "the list not shuffled": lambda: of(cut(WORDS)),
}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> reference.Reference:
    """The count bigram on the words of this file, cut as in the lecture."""
    data = lines(tmp_path_factory.mktemp("data"))
    found = registry.discover()
    own = split.parse("lecture")
    return reference.Reference(
        found,
        selection.one(found, "count-bigram:k=1"),
        data,
        "lecture",
        lambda: reference.by_method(data.documents, data, own),
        reference.ways(data, own),
    )


def test_every_cause_of_a_model_has_its_wrong_number(fitted: reference.Reference) -> None:
    """The table of this file holds all causes of split and part."""
    assert {cause.name for cause in fitted.causes} == set(FITTED)


@pytest.mark.parametrize("name", FITTED)
def test_what_was_done_to_the_split_is_named(fitted: reference.Reference, name: str) -> None:
    """A count bigram in plain Python on documents cut wrongly: one explanation."""
    claim = doctor.read_claim(f"{FITTED[name]():.10f}")
    table = (*fitted.causes, *causes.arithmetic())
    assert names(doctor.diagnose(claim, fitted.scores, table)) == [name]


def test_a_split_and_a_unit_together(fitted: reference.Reference) -> None:
    """The list shuffled four times, in bits."""
    claim = doctor.read_claim(f"{of(cut(shuffled(WORDS, 4))) / math.log(2):.10f}")
    table = (*fitted.causes, *causes.arithmetic())
    assert names(doctor.diagnose(claim, fitted.scores, table)) == [
        "the list shuffled four times in place + bits, not nats"
    ]


def test_an_author_s_words_are_recognised(fitted: reference.Reference) -> None:
    """By themselves, whatever their order; by the number of their targets; by their lengths."""
    dev = cut(shuffled(WORDS, 3))[1]
    where = "dev of: the list shuffled three times in place"
    assert reference.identify(fitted.ways, words=dev) == [where]
    assert reference.identify(fitted.ways, words=sorted(dev)) == [f"{where}, in another order"]
    assert reference.identify(fitted.ways, lengths=[len(word) + 1 for word in dev]) == [where]
    assert where in reference.identify(fitted.ways, targets=sum(len(word) + 1 for word in dev))
    assert reference.identify(fitted.ways, words=["nobody"]) == []


def test_words_that_are_tested_are_not_trained_on() -> None:
    """Each occurrence is taken out once."""
    assert reference.without(["a", "b", "a", "c", "a"], ["a", "a", "x"]) == ["b", "c", "a"]


# ---- files


FORMS = {
    "blank lines": "0.5\n1.5\n\n2.0\n0.25\n1.0\n",
    "a column": "word,nats\nab,0.5\nab,1.5\ncd,2.0\ncd,0.25\ncd,1.0\n",
    "ln p": "-0.5\n-1.5\n\n\n-2.0\n-0.25\n-1.0\n",
    "json": json.dumps(
        {
            "kind": "lines",
            "documents": [
                {"text": "a", "characters": [0.5, 1.5]},
                {"text": "bc", "characters": [2.0, 0.25, 1.0]},
            ],
        }
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_file_gives_the_same_scores(form: str) -> None:
    """Two documents of two and three targets."""
    Path("scores").write_text(FORMS[form])
    found = author_file.read("scores").scored
    assert found is not None
    assert found.nats.tolist() == [0.5, 1.5, 2.0, 0.25, 1.0]
    assert found.lengths.tolist() == [2, 3]


def test_p_0_is_read(tmp_path: Path) -> None:
    """inf, -inf and JSON's null."""
    Path("scores").write_text("1.0\ninf\n\n2.0\n")
    found = author_file.read("scores").scored
    assert found is not None
    assert found.nats.tolist() == [1.0, math.inf, 2.0]


def test_words_are_words_even_where_one_reads_like_a_number() -> None:
    """`nan` and `inf` are names."""
    Path("words").write_text("emma\nnan\ninf\nolivia\nava\n")
    assert author_file.read("words").words == ("emma", "nan", "inf", "olivia", "ava")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "nothing in it"),
        ("1.0\n-1.0\n", "above and below 0"),
        ("1.0\ntwo\n3.0\n", "line 2: 'two' is no number"),
        ("1.0\nnan\n3.0\n", "number 2 is NaN"),
        ("{}", "per-character --json"),
        ('{"documents": [{"text": "a", "characters": []}]}', "no scores"),
        ('{"documents": [{"text": "a", "characters": [1]}, {"text": "b", "characters": []}]}', "document 2"),
    ],
)
def test_a_file_that_is_none_is_named(content: str, said: str) -> None:
    """One line with the file, the place and what is wrong."""
    Path("mine.txt").write_text(content)
    with pytest.raises(UsageError, match=r"mine\.txt") as caught:
        author_file.read("mine.txt")
    assert said in str(caught.value)


# ---- the verb


def test_the_verb_reads_what_score_prints(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A stored model's scores of a file; the number without its ends is explained by just that."""
    lines(tmp_path)
    file = f"file:{tmp_path / 'words.txt'}"
    assert main(["run", "--models", "count-bigram", "--dataset", file, "--in-process"]) == 0
    capsys.readouterr()
    Path("mine.txt").write_text("\n".join(WORDS[:300]))
    assert main(["score", "count-bigram", "mine.txt", "--per-character", "--json"]) == 0
    printed = capsys.readouterr().out
    Path("mine.json").write_text(printed)
    rows = [one["characters"] for one in json.loads(printed)["documents"]]
    nll = mean(flat([row[:-1] for row in rows]))
    assert main(["doctor", "mine.json", "--nll", f"{nll:.8f}", "--dataset", file, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["protocol"] == pytest.approx(json.loads(printed)["total"]["nats_per_character"], rel=1e-14)
    assert [each["causes"] for each in found["explanations"]] == [["end token left out"]]


def test_the_verb_says_what_each_cause_moves(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Without a number: a row a cause that moves anything, computed here."""
    lines(tmp_path)
    assert main(["doctor", "--dataset", f"file:{tmp_path / 'words.txt'}", "--split", "lecture"]) == 0
    out = capsys.readouterr().out
    for name in (*FITTED, "bits, not nats", "end token left out"):
        assert f"\n{name} " in out
    row = next(line for line in out.splitlines() if line.startswith("dev, not test"))
    own = of(cut(shuffled(WORDS, 1)))
    assert row.split()[-1] == f"{FITTED['dev, not test']() - own:+.5f}"


def test_the_verb_needs_no_dataset_where_there_are_scores(capsys: pytest.CaptureFixture[str]) -> None:
    """Data that is not to be had is a warning; the file's own causes are tried."""
    Path("scores").write_text(FORMS["blank lines"])
    assert main(["doctor", "scores", "--nll", "1.5147", "--dataset", "file:nowhere.txt"]) == 0
    printed = capsys.readouterr()
    assert "bits, not nats" in printed.out
    assert "nowhere.txt" in printed.err


def test_an_author_s_own_test_words(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Trained on all others, scored on them; they are recognised, and the number agrees."""
    lines(tmp_path)
    train, _, test = cut(shuffled(WORDS, 2))
    Path("mine.txt").write_text("\n".join(test))
    train = reference.without(WORDS, test)
    claim = f"{bigram(train, test):.6f}"
    assert main(["doctor", "mine.txt", "--nll", claim, "--dataset", f"file:{tmp_path / 'words.txt'}"]) == 0
    out = capsys.readouterr().out
    assert "words are test of: the list shuffled twice in place." in out
    assert "nothing to explain" in out


@pytest.mark.parametrize("part", [1, 2])
def test_recognised_words_are_trained_as_their_split_does(
    part: int, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The lecture's dev or test words, and the number of a model that saw its train part alone."""
    lines(tmp_path)
    parts = cut(shuffled(WORDS, 2))
    Path("mine.txt").write_text("\n".join(parts[part]))
    claim = f"{bigram(parts[0], parts[part]):.6f}"
    arguments = ["--nll", claim, "--dataset", f"file:{tmp_path / 'words.txt'}", "--json"]
    assert main(["doctor", "mine.txt", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["protocol"] == pytest.approx(bigram(reference.without(WORDS, parts[part]), parts[part]))
    cause = "trained on the train part alone: the list shuffled twice in place"
    assert [cause] in [each["causes"] for each in found["explanations"]]


# ---- the puzzles of the lectures


def test_part_2_stands_on_a_list_shuffled_four_times(
    makemore_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """22,902 targets, as the notebook of dev 2.1701 prints, are dev of that list and of no other."""
    assert main(["doctor", "--targets", "22902"]) == 0
    out = capsys.readouterr().out
    assert out == "22,902 targets are those of dev of: the list shuffled four times in place.\n"


def test_the_table_of_the_docs(makemore_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """docs/doctor.md shows what the command prints: paste it there."""
    assert main(["doctor", "--split", "lecture"]) == 0
    docs = (Path(__file__).parents[1] / "docs" / "doctor.md").read_text(encoding="utf-8")
    mark = "<!-- generated: harness doctor --split lecture -->\n```text\n"
    assert mark + capsys.readouterr().out + "```" in docs


def test_part_1_by_the_verb(makemore_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Counts of all names + 1: 2.4544 is no rounding of the exact 2.4546, and float32 alone explains it."""
    assert main(["doctor", "--nll", "2.4544", "--split", "all", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert f"{found['protocol']:.4f}" == "2.4546"
    assert [each["causes"] for each in found["explanations"]] == [["summed one by one in float32"]]


@pytest.mark.parametrize(("k", "total"), [(0, 559_891.75), (1, 559_951.5625)])
def test_part_1_was_summed_in_float32(makemore_names: tuple[str, ...], k: int, total: float) -> None:
    """The sums that the video shows are those of one float32 after the other; exact ones differ by 2e-4."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    pairs = [pair for word in makemore_names for pair in zip("." + word, word + ".", strict=True)]
    for a, b in pairs:
        counts[a][b] += 1
    nats = [-math.log((counts[a][b] + k) / (counts[a].total() + 27 * k)) for a, b in pairs]
    wrong = Scored(np.array(nats), np.array([len(nats)]), ends=False)
    claim = doctor.read_claim(f"{total / len(nats):.4f}")
    assert names(doctor.diagnose(claim, only(wrong), causes.arithmetic())) == ["summed one by one in float32"]
