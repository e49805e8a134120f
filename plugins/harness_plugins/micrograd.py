"""Reverse-mode automatic differentiation of scalars, after Karpathy's micrograd.

A `Value` is a number that remembers what it was made of: its operands, and its slope, the partial
derivative, by each of them. `backward` walks from a result to everything it depends on and sums, along
all paths, the products of the slopes (the chain rule).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count

_births = count()


class Value:
    """A scalar in a graph. After `result.backward()`, `grad` is the derivative of that result by it."""

    __slots__ = ("birth", "data", "grad", "operands", "slopes")

    def __init__(self, data: float, operands: tuple[Value, ...] = (), slopes: tuple[float, ...] = ()) -> None:
        self.data = float(data)
        self.grad = 0.0
        self.operands = operands
        self.slopes = slopes
        self.birth = next(_births)

    def __add__(self, other: Value | float) -> Value:
        other = lifted(other)
        return Value(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other: Value | float) -> Value:
        other = lifted(other)
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    def __pow__(self, exponent: float) -> Value:
        """To a constant power."""
        slope = exponent * self.data ** (exponent - 1) if exponent else 0.0
        return Value(self.data**exponent, (self,), (slope,))

    def __neg__(self) -> Value:
        return self * -1.0

    def __sub__(self, other: Value | float) -> Value:
        return self + -other

    def __rsub__(self, other: float) -> Value:
        return -self + other

    def __truediv__(self, other: Value | float) -> Value:
        return self * lifted(other) ** -1

    def __rtruediv__(self, other: float) -> Value:
        return self**-1 * other

    __radd__ = __add__
    __rmul__ = __mul__

    def exp(self) -> Value:
        """The exponential."""
        data = math.exp(self.data)
        return Value(data, (self,), (data,))

    def log(self) -> Value:
        """The natural logarithm."""
        return Value(math.log(self.data), (self,), (1 / self.data,))

    def tanh(self) -> Value:
        """The hyperbolic tangent."""
        data = math.tanh(self.data)
        return Value(data, (self,), (1 - data * data,))

    def backward(self) -> None:
        """Set `grad` of all that this value depends on, itself included.

        A value is born after its operands, so the youngest first is an order in which each one's
        gradient is complete before it is handed on: no recursion, however deep the graph.
        """
        graph, seen = [self], {self}
        for value in graph:  # grows as it is walked
            value.grad = 0.0
            for operand in value.operands:
                if operand not in seen:
                    seen.add(operand)
                    graph.append(operand)
        self.grad = 1.0
        for value in sorted(graph, key=lambda value: -value.birth):
            grad = value.grad
            for operand, slope in zip(value.operands, value.slopes, strict=True):
                operand.grad += slope * grad

    def __repr__(self) -> str:
        return f"Value({self.data:g}, grad={self.grad:g})"


def lifted(number: Value | float) -> Value:
    """A number as a constant of the graph."""
    return number if isinstance(number, Value) else Value(number)


def total(values: Sequence[Value]) -> Value:
    """The sum of many values as one node, where `sum` would make a chain."""
    return Value(math.fsum(value.data for value in values), tuple(values), (1.0,) * len(values))


def dot(a: Sequence[Value], b: Sequence[Value]) -> Value:
    """Σ aᵢbᵢ as one node: a neuron."""
    left, right = [value.data for value in a], [value.data for value in b]
    return Value(sum(map(float.__mul__, left, right)), (*a, *b), (*right, *left))
