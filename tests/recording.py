"""A CUDA graph's stand-in on the CPU: records which operations write which memory, and does that again.

Like the real one it changes nothing while it records, keeps every number that the host has put in, and
refuses what would wait for the device or has no fixed shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

aten = torch.ops.aten
INDEXING = (aten.index.Tensor, aten.index_put_.default, aten.index_put.default)
LOOSE = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


class NotCapturable(Exception):
    """An operation that no graph can hold."""


def tensors(value: Any) -> list[torch.Tensor]:
    """All tensors in nested arguments."""
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def alias(value: Any) -> Any:
    """The same memory under tensors of its own, whose shapes nobody else changes."""
    return tree_map_only(torch.Tensor, torch.Tensor.detach, value)


def memory(tensor: torch.Tensor) -> int:
    """Where a tensor lies."""
    return int(tensor.untyped_storage()._cdata)


def refuse(func: Any, args: Any) -> None:
    """Raise where the host would have to look at a tensor, or brings one of its own."""
    if func in INDEXING:
        wrong = any(index.dtype in (torch.bool, torch.uint8) for index in tensors(args[1]))
    else:
        wrong = bool(LOOSE & set(func.tags)) or func is aten.lift_fresh.default
    if wrong:
        raise NotCapturable(str(func))


class Recording(TorchDispatchMode):
    """Operations, with the memory that they read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, dict[int, torch.Tensor]]] = []  # at last: new outputs by number
        self.made: set[int] = set()  # memory that was allocated while recording
        self.before: list[tuple[torch.Tensor, torch.Tensor]] = []  # what was overwritten, and its value

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        refuse(func, args)
        given = dict(zip([argument.name for argument in func._schema.arguments], args, strict=False))
        given |= kwargs or {}
        for argument in func._schema.arguments:
            if argument.alias_info is not None and argument.alias_info.is_write:
                self.remember(given.get(argument.name))
        if func is aten.native_batch_norm.default:  # moves running statistics; its schema is silent
            self.remember(args[3:5])
        kept, inputs = alias((args, kwargs or {})), {memory(t) for t in tensors(given)}
        found = func(*args, **(kwargs or {}))
        fresh = {n: alias(t) for n, t in enumerate(tensors(found)) if memory(t) not in inputs}
        self.made |= {memory(t) for t in fresh.values()}
        self.calls.append((func, *kept, fresh))
        return found

    def remember(self, written: Any) -> None:
        """Keep the value of memory that was there before, at its first change."""
        for tensor in tensors(written):
            if memory(tensor) not in self.made | {memory(t) for t, _ in self.before}:
                size = tensor.untyped_storage().nbytes() // tensor.itemsize
                whole = tensor.detach().as_strided((size,), (1,), 0)
                self.before.append((whole, whole.clone()))

    def replay(self) -> None:
        """The same operations on the same memory."""
        with torch.inference_mode(), torch.enable_grad():  # as below autograd
            for func, args, kwargs, fresh in self.calls:
                again = tensors(func(*alias(args), **alias(kwargs)))
                for number, old in fresh.items():
                    old.copy_(again[number])


def record(step: Callable[[], object], generators: Sequence[torch.Generator]) -> Callable[[], None]:
    """As `captured.cuda_graph`."""
    states = [generator.get_state() for generator in generators]
    recording = Recording()
    with recording:
        step()
    with torch.inference_mode():
        for tensor, value in recording.before:
            tensor.copy_(value)
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)
    return recording.replay
