"""How torch's optimisers are made here: fused, and reading the rate from a tensor on the device.

A fused optimiser moves all parameters in one call. A rate that lies in a tensor can change while the calls
stay the same, as in a CUDA graph (`captured`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from harness.contract import Config

Tensor = torch.Tensor


def optimizer(weights: Sequence[Tensor], config: Config, rate: Tensor) -> torch.optim.Optimizer:
    """AdamW or plain gradient descent, by the option `optimizer`; the rate is ()."""
    if config["optimizer"] == "adamw":
        return adamw([{"params": list(weights)}], (0.9, config["beta2"]), config["weight_decay"], rate)
    return torch.optim.SGD(weights, rate, fused=True)


def adamw(
    groups: list[dict[str, Any]], betas: tuple[float, float], decay: float, rate: Tensor
) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019); `capturable` keeps its count of steps out of the host's hands."""
    return torch.optim.AdamW(groups, rate, betas, weight_decay=decay, fused=True, capturable=rate.is_cuda)


def descent(module: nn.Module, config: Config, rate: Tensor) -> Callable[[Tensor], None]:
    """A step of AdamW down the gradient of a loss, whose norm is at most `clip` where that is not 0."""
    groups = decayed(module, config["weight_decay"], everything=config["decay"] == "all")
    steps = adamw(groups, (config["beta1"], config["beta2"]), config["weight_decay"], rate)

    def descend(loss: Tensor) -> None:
        steps.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
        if config["clip"] > 0:
            nn.utils.clip_grad_norm_(module.parameters(), config["clip"], foreach=True)
        steps.step()

    return descend


def decayed(module: nn.Module, weight_decay: float, *, everything: bool) -> list[dict[str, Any]]:
    """Weights decay; biases, gains and embeddings, whose size carries meaning, do not (or everything)."""
    if everything:
        return [{"params": list(module.parameters()), "weight_decay": weight_decay}]
    embeddings = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    decay: list[nn.Parameter] = []
    keep: list[nn.Parameter] = []
    for parameter in module.parameters():
        (decay if parameter.ndim > 1 and id(parameter) not in embeddings else keep).append(parameter)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": keep, "weight_decay": 0.0}]
