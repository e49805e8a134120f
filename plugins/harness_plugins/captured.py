"""Training steps that need nothing of the host: on CUDA recorded once as a graph, then launched as one.

A step of a small network is mostly the launching of its operations, each some microseconds of the host. In a
CUDA graph (`torch.cuda.CUDAGraph`) they are launched together. What is recorded is which operations write
which memory, so a step may depend on nothing that the host would have to look at: the rows that were drawn
and the rates lie in tables on the device, a counter there says whose turn it is, shapes never change, and
the loss is read when somebody asks for it. Where there is no CUDA the same function is simply called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from harness.contract import Ints

Tensor = torch.Tensor
Tensors = tuple[Tensor, ...]
Call = Callable[[], object]

WARM_UP = 3  # steps that are taken before one is recorded: libraries start, optimisers allocate


class Table(NamedTuple):
    """What was drawn for the next S steps of R seeds."""

    drawn: Tensors  # (S, …) each
    targets: Ints  # (S, R) how many targets each seed consumes in each step


def equal(each: Iterator[NDArray[Any]]) -> Iterator[tuple[NDArray[Any], Ints]]:
    """Tables (S, N) with how many targets each row stands for (S,): N."""
    return ((table, np.full(len(table), table.shape[1])) for table in each)


def tables(
    each: Sequence[Iterator[tuple[NDArray[Any], Ints]]],
    device: torch.device,
    locate: Callable[[Tensor], Tensor] | None = None,
) -> Iterator[Table]:
    """Of R seeds' tables (S, N) and targets (S,): (S, R, N) and (S, R) on the device.

    locate: makes of what was drawn, there, what the step is given.
    """
    while True:
        parts = [next(one) for one in each]
        found = [torch.from_numpy(numbers).to(device) for numbers, _ in parts]
        drawn = torch.stack(found if locate is None else list(map(locate, found)), dim=1)
        targets = np.stack([count for _, count in parts], axis=1)
        yield Table((drawn, torch.from_numpy(targets).to(device)), targets)


def cuda_graph(step: Call, generators: Sequence[torch.Generator]) -> Call:
    """A step as a graph: what is returned launches it."""
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def beside(step: Call) -> None:
    """Take a step on a stream of its own, as it must be before a recording."""
    stream, current = torch.cuda.Stream(), torch.cuda.current_stream()  # type: ignore[no-untyped-call]  # torch gives it no types
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        step()
    current.wait_stream(stream)


class Captured:
    """R seeds in training (a `Stepper`).

    tables: endless, each of the shapes of the first. step: from a row of each of a table's tensors it moves
    the parameters by the rate in `rate` (), and returns tensors of which `read` makes the mean NLL of each
    seed (R,). rate_of: share of the budget -> rate. generators: those that the step draws from.
    record: as `cuda_graph`, which it is on CUDA; None calls the step anew each time.
    """

    def __init__(
        self,
        tables: Iterator[Table],
        step: Callable[..., Tensors],
        read: Callable[..., Tensor],
        rate: Tensor,
        rate_of: Callable[[float], float],
        params: Callable[[], list[dict[str, NDArray[Any]]]],
        *,
        generators: Sequence[torch.Generator] = (),
        record: Callable[[Call, Sequence[torch.Generator]], Call] | None = None,
    ) -> None:
        self.tables, self.table = tables, next(tables)
        self.step, self.read, self.rate, self.rate_of, self.params = step, read, rate, rate_of, params
        self.rates = torch.zeros(len(self.table.targets), device=rate.device)  # (S,)
        self.at = torch.zeros(
            1, dtype=torch.int64, device=rate.device
        )  # the row of the tables whose turn it is
        self.used = 0  # the same, as the host counts it
        self.done = np.zeros(self.table.targets.shape[1], np.int64)
        self.generators = generators
        self.record = cuda_graph if rate.is_cuda else record
        self.begin = beside if rate.is_cuda else _here
        self.warm_up = WARM_UP
        self.launch: Call | None = None
        self.last: Tensors = ()  # what the last step returned; of a graph, where it writes that

    def once(self) -> None:
        """The step whose turn it is; nothing in it waits for the device."""
        rows = [drawn.index_select(0, self.at)[0] for drawn in self.table.drawn]
        self.rate.copy_(self.rates.index_select(0, self.at)[0])
        self.last = self.step(*rows)
        self.at.add_(1)

    def steps(self, spent: Sequence[float]) -> list[float]:
        """A step at each of these shares of the budget; the last batch's mean NLL of each seed."""
        rates = torch.tensor([self.rate_of(share) for share in spent])
        while len(rates):
            if self.used == len(self.rates):
                self.next_table()
            some = slice(self.used, min(self.used + len(rates), len(self.rates)))
            fresh, rates = rates[: some.stop - some.start], rates[some.stop - some.start :]
            self.rates[some] = fresh.to(self.rates.device)
            for _ in fresh:
                self.take()
            self.done += self.table.targets[some].sum(axis=0)
            self.used = some.stop
        losses: list[float] = self.read(*self.last).tolist()
        return losses

    def next_table(self) -> None:
        """Draw again, into the tensors that are there."""
        drawn, targets = next(self.tables)
        for old, new in zip(self.table.drawn, drawn, strict=True):
            old.copy_(new)
        self.table = Table(self.table.drawn, targets)
        self.at.zero_()
        self.used = 0

    def take(self) -> None:
        """One step: the first few as they are, then by what was recorded."""
        if self.record is None or self.warm_up:
            self.warm_up -= self.warm_up > 0
            self.begin(self.once)
            return
        if self.launch is None:
            self.launch = self.record(self.once, self.generators)
        self.launch()


def _here(step: Call) -> None:
    step()
