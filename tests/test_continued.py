"""Where rows stand among known ones, against plain Python."""

from __future__ import annotations

import numpy as np
import pytest

from harness_plugins.continued import keys, rows_of


@pytest.mark.parametrize("v", [2, 28, 300])
@pytest.mark.parametrize("width", [1, 5, 90])
def test_rows_are_found_where_they_stand(width: int, v: int) -> None:
    """In any order and repeated, short enough for a number or not; at each index stands the row wanted."""
    rng = np.random.default_rng(4)
    known = rng.integers(0, v, (60, width))
    for wanted in (known, known[rng.integers(0, 60, 200)], known[::-1], known[7:8]):
        at = rows_of(known, wanted)
        assert at is not None
        assert known[at].tolist() == wanted.tolist()


@pytest.mark.parametrize("width", [1, 5, 90])
@pytest.mark.parametrize("place", [0, -1])
def test_one_row_that_is_not_there_is_enough(width: int, place: int) -> None:
    """None, whichever row it is and wherever it differs."""
    known = np.random.default_rng(5).integers(1, 27, (60, width))
    for row in (0, 30, 59):
        wanted = known.copy()
        wanted[row, place] = 0
        assert rows_of(known, wanted) is None


@pytest.mark.parametrize("widths", [(3, 4), (4, 3), (0, 0)])
def test_rows_of_other_widths_are_not_there(widths: tuple[int, int]) -> None:
    """Nothing goes on from no characters, or from another number of them."""
    assert rows_of(np.ones((2, widths[0]), np.int64), np.ones((2, widths[1]), np.int64)) is None


def test_keys_that_wrap_around_are_not_believed() -> None:
    """Of two rows that differ by 2**64 in base 3, so that their keys are equal, one is not the other."""
    left, digits = 2**64, []  # digits −1, 0 and 1, the lowest first
    while left:
        digit = (left + 1) % 3 - 1
        digits.append(digit)
        left = (left - digit) // 3
    apart = np.array([*digits[::-1], 0])
    known, wanted = (np.array([np.maximum(sign * apart, 0)]) for sign in (1, -1))
    known[0, -1] = wanted[0, -1] = 2
    assert keys(known, 3) == keys(wanted, 3)
    assert rows_of(known, wanted) is None
    assert rows_of(known, known[[0, 0]]) is not None
