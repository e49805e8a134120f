"""Inputs that go on from those of the last call: where their kept states stand."""

from __future__ import annotations

import numpy as np

from harness.contract import Ints

MOST_KEPT = 2**25  # numbers in a state that is kept between calls


def rows_of(known: Ints, wanted: Ints) -> Ints | None:
    """Where each row of `wanted` (P, k) stands in `known` (Q, k); None unless all of them are found.

    By keys that wrap around where rows are long: what they find is compared.
    """
    if known.shape[1] != wanted.shape[1] or not wanted.shape[1]:
        return None
    if known.shape == wanted.shape and (known == wanted).all():
        return np.arange(len(known))
    base = int(max(known.max(), wanted.max())) + 1 | 1  # odd, so that no character is shifted out
    key = keys(known, base)
    order = np.argsort(key, kind="stable")  # quick where it is sorted, as samplers and scorers ask
    place = np.searchsorted(key, keys(wanted, base), sorter=order)
    at: Ints = order[np.minimum(place, len(order) - 1)]
    return at if (known[at] == wanted).all() else None


def keys(rows: Ints, base: int) -> Ints:
    """A number for each row (N, k) -> (N,)."""
    key = rows[:, 0].copy()
    for column in rows.T[1:]:
        key *= base
        key += column
    return key
