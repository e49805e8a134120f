"""Files of scores: what is read of them, and what a wrong one is told."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from harness import score_file
from harness.errors import UsageError

ROW = {"text": "ab", "targets": 3, "nats": 4.5}


def written(content: str, name: str = "scores.json") -> Path:
    """A file with that content."""
    Path(name).write_text(content, encoding="utf-8")
    return Path(name)


def test_json_and_csv_hold_the_same_scores() -> None:
    """Documents in their order, infinite where JSON has null and CSV inf; other fields are left alone."""
    rows = [ROW, {"text": 'c,"\n', "targets": 1, "nats": None}, {**ROW, "nats": 4.75}]
    text = json.dumps({"model": "m", "documents": [{**row, "more": 1} for row in rows], "total": {}})
    table = 'targets,document,more,nats\n3,ab,x,4.5\n1,"c,""\n",x,inf\n3,ab,x,4.75\n'
    for found in (
        score_file.read(written(text)),
        score_file.read(written(table, "s.csv")),
        score_file.read(written("\ufeff" + table, "s.csv")),
    ):
        assert found.sums.tolist() == [[4.5, math.inf, 4.75]]
        assert found.lengths.tolist() == [3, 1, 3]
        assert found.documents == ["ab", 'c,"\n', "ab"]
        assert found.units.tolist() == [0, 1, 0]  # equal documents are one unit
        assert found.facts == {"kind": "lines"}
        assert found.rests_on == "file of scores"


def test_blocks_of_running_text_are_units_of_their_own() -> None:
    """Two equal blocks are no document that stands twice."""
    text = json.dumps({"kind": "text", "documents": [ROW, ROW]})
    assert score_file.read(written(text)).units.tolist() == [0, 1]


def test_names_and_paths_are_harmless() -> None:
    """A file's name goes to a terminal."""
    found = score_file.read(written(json.dumps({"documents": [ROW]}), "a\x1b[31m.json"))
    assert (found.name, found.source) == (r"a\x1b[31m.json",) * 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "s.x: no column 'document': a file of scores is CSV with document, nats, targets"),
        ("a,b\n1,2\n", "s.x: no column 'document'"),
        ("document,nats\na,1\n", "s.x: no column 'targets'"),
        ("document,nats,targets\n", "s.x: no documents in it"),
        ("document,nats,targets\na,1\n", "s.x, line 2: a cell is missing"),
        ("document,nats,targets\na,1,1\nb,x,1\n", "s.x, line 3: could not convert string to float: 'x'"),
        ("document,nats,targets\na,nan,1\n", "s.x, line 2: nats: nan"),
        ("document,nats,targets\na,1,1.5\n", "s.x, line 2: invalid literal for int"),
        ('document,nats,targets\n"a"b,1,1\n', "s.x, line 2: "),
        ("document,nats,targets\na,1,1\nb,-0.1,1\n", "s.x, document 2: nats: -0.1; −ln p is never below 0"),
        ("document,nats,targets\na,-inf,1\n", "s.x, document 1: nats: -inf"),
        ("document,nats,targets\na,1,0\n", "s.x, document 1: targets: 0; at least 1"),
        ('{"documents": []}', "s.x: no documents in it"),
        ('{"documents": [{"text": "a", "targets": 1}]}', "nor a run file: .*missing required field `nats`"),
        ('{"documents": [{"text": "a", "targets": "1", "nats": 1}]}', "Expected `int`, got `str`"),
        ('{"kind": "songs", "documents": []}', "Invalid enum value 'songs'"),
        ("{", "s.x: not what harness score --json prints"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_the_place(content: str, said: str) -> None:
    """The file, the line or document, and what is wrong there."""
    with pytest.raises(UsageError, match=said) as caught:
        score_file.read(written(content, "s.x"))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_is_named() -> None:
    """Bytes that are no UTF-8, and a folder."""
    Path("s.npz").write_bytes(b"PK\x03\x04\xff")
    with pytest.raises(UsageError, match=r"s.npz: not UTF-8 \(byte 4"):
        score_file.read(Path("s.npz"))
    with pytest.raises(UsageError, match=r"\.: Is a directory"):
        score_file.read(Path())


def test_a_run_file_is_no_file_of_scores() -> None:
    """It is told by its first line."""
    assert score_file.is_run(written('{"checksum":"00","header":{}}\n', "r.jsonl"))
    assert not score_file.is_run(written(json.dumps({"documents": [ROW]})))


def test_rounding_below_zero_is_no_mistake() -> None:
    """A sum of −ln p may lie as far below 0 as log-probabilities may lie above."""
    found = score_file.read(written("document,nats,targets\nab,-0.00002,3\n"))
    assert np.array_equal(found.sums, [[-0.00002]])
