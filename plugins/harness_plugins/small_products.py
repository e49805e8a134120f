"""Products of small float32 matrices for kernels compiled by numba, without BLAS.

A tile of the result, some rows by `COLUMNS` columns, stays in registers over the whole depth of the product:
for every row of b that is read there are as many multiplications as there are rows in the tile, so
that a core is bound by arithmetic (Goto & van de Geijn 2008). Compilers do not find this by themselves: the
tile is written down as LLVM instructions on vectors of eight, which LLVM splits where a machine has
shorter ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from harness_plugins.compiled import compiled

LANES = 8
COLUMNS = 2 * LANES  # of a tile: widths of results are multiples of it
FUSED = ("contract",)  # a product and a sum in one instruction


def tile_of(rows: int) -> Any:
    """tile(out, a, b, i, j, depth, keep): `rows` × 16 of out ← a @ b, from row i and column j on.

    a (·, depth) may be a transposed view; out and b are C-contiguous. keep: added to what out holds.
    """

    def tile(typing: Any, out: Any, a: Any, b: Any, i: Any, j: Any, depth: Any, keep: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            vector, word = ir.VectorType(ir.FloatType(), LANES), ir.IntType(64)
            arrays = [
                context.make_array(kind)(context, builder, value)
                for kind, value in zip(signature.args[:3], values[:3], strict=True)
            ]
            strides = [cgutils.unpack_tuple(builder, array.strides, 2) for array in arrays]
            first, column, depth, keep = values[3:]

            def address(which: int, row: Any, at: Any, kind: Any) -> Any:
                base = builder.ptrtoint(arrays[which].data, word)
                down, along = strides[which]
                there = builder.add(base, builder.add(builder.mul(row, down), builder.mul(at, along)))
                return builder.inttoptr(there, kind.as_pointer())

            def place(row: int, half: int) -> Any:
                at = builder.add(column, word(half * LANES))
                return address(0, builder.add(first, word(row)), at, vector)

            cells = [(row, half) for row in range(rows) for half in range(COLUMNS // LANES)]
            zero, sums = ir.Constant(vector, None), {}
            for cell in cells:
                held = builder.load(place(*cell), align=4)
                sums[cell] = cgutils.alloca_once_value(builder, builder.select(keep, held, zero))
            with cgutils.for_range(builder, depth) as loop:
                right = [
                    builder.load(
                        address(2, loop.index, builder.add(column, word(half * LANES)), vector), align=4
                    )
                    for half in range(COLUMNS // LANES)
                ]
                for row in range(rows):
                    here = address(1, builder.add(first, word(row)), loop.index, ir.FloatType())
                    one = builder.insert_element(zero, builder.load(here), ir.IntType(32)(0))
                    left = builder.shuffle_vector(
                        one, zero, ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
                    )
                    for half in range(COLUMNS // LANES):
                        held = sums[row, half]
                        product = builder.fmul(left, right[half], flags=FUSED)
                        builder.store(builder.fadd(builder.load(held), product, flags=FUSED), held)
            for cell in cells:
                builder.store(builder.load(sums[cell]), place(*cell), align=4)
            return context.get_dummy_value()

        return types.void(out, a, b, types.int64, types.int64, types.int64, types.boolean), build

    return intrinsic(tile)


four_rows, two_rows, one_row = tile_of(4), tile_of(2), tile_of(1)


@compiled
def columns(out: Any, a: Any, b: Any, rows: int, j: int, depth: int, keep: bool) -> None:
    """Sixteen columns of a product, from column j on."""
    i = 0
    while i + 4 <= rows:
        four_rows(out, a, b, i, j, depth, keep)
        i += 4
    if i + 2 <= rows:
        two_rows(out, a, b, i, j, depth, keep)
        i += 2
    if i < rows:
        one_row(out, a, b, i, j, depth, keep)


@compiled
def multiply(out: Any, a: Any, b: Any, rows: int, depth: int, keep: bool) -> None:
    """out[:rows] (rows, columns) ← a[:rows, :depth] @ b[:depth], added to it where `keep`."""
    for j in range(0, out.shape[1], COLUMNS):
        columns(out, a, b, rows, j, depth, np.bool_(keep))


@compiled
def multiply_wide(out: Any, a: Any, b: Any, rows: int, depth: int, keep: bool, panel: Any) -> None:
    """The same, for a b of wide rows: sixteen columns at a time are copied to a panel (depth or more, 16).

    Rows that are a multiple of 256 bytes apart share a few places of the first cache and displace each other.
    """
    if out.shape[1] <= 2 * COLUMNS:
        multiply(out, a, b, rows, depth, np.bool_(keep))
        return
    for j in range(0, out.shape[1], COLUMNS):
        for k in range(depth):
            for column in range(COLUMNS):
                panel[k, column] = b[k, j + column]
        columns(out[:, j : j + COLUMNS], a, panel, rows, np.int64(0), depth, np.bool_(keep))


@compiled
def multiply_turned(out: Any, a: Any, b: Any, rows: int, panel: Any) -> None:
    """out[:rows] ← a[:rows] @ b.T, of which sixteen columns at a time are copied to the panel."""
    for j in range(0, out.shape[1], COLUMNS):
        for column in range(COLUMNS):
            for k in range(b.shape[1]):
                panel[k, column] = b[j + column, k]
        columns(out[:, j : j + COLUMNS], a, panel, rows, np.int64(0), b.shape[1], np.bool_(False))


@compiled
def multiply_rows(out: Any, x: Any, y: Any, rows: int) -> None:
    """out[i, v] ← x[i]·y[v] for `rows` rows of x and all of y, two by four at a time.

    At the edges the last row stands in for those that are missing: its product is written again.
    """
    edge, last = rows - 1, len(y) - 1
    for i in range(0, rows, 2):
        k = min(i + 1, edge)
        one, two = x[i], x[k]
        for v in range(0, len(y), 4):
            v1, v2, v3 = min(v + 1, last), min(v + 2, last), min(v + 3, last)
            w0, w1, w2, w3 = y[v], y[v1], y[v2], y[v3]
            s0 = s1 = s2 = s3 = t0 = t1 = t2 = t3 = np.float32(0)
            for j in range(x.shape[1]):
                s0 += one[j] * w0[j]
                s1 += one[j] * w1[j]
                s2 += one[j] * w2[j]
                s3 += one[j] * w3[j]
                t0 += two[j] * w0[j]
                t1 += two[j] * w1[j]
                t2 += two[j] * w2[j]
                t3 += two[j] * w3[j]
            out[i, v], out[i, v1], out[i, v2], out[i, v3] = s0, s1, s2, s3
            out[k, v], out[k, v1], out[k, v2], out[k, v3] = t0, t1, t2, t3
