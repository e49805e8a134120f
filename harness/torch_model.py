"""`TorchModel`: a base for authors who think in torch. torch is imported when it is first used."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.contract import Config, Floats, Ints, Model, Trial

if TYPE_CHECKING:
    import torch
    from torch import nn

SMALL = 2_000_000  # parameters


class TorchModel(Model):
    """Write `build` and `fit`; the base keeps `params` and the module in step.

    `self.module` is the network on `self.device`, with `params` loaded where there are any. At the
    end of `fit` call `self.keep()`: the state dict becomes `params`. `log_probs` runs the module in
    evaluation mode without gradients on (B, T) and takes log_softmax of its logits (B, T, V).
    """

    _module: Any = None
    _loaded: Any = None
    _on: str | None = None

    @abc.abstractmethod
    def build(self, vocab_size: int, config: Config) -> nn.Module:
        """The network, inputs (B, T) int64 -> logits (B, T, V)."""

    @property
    def module(self) -> nn.Module:
        """The network; rebuilt where `params` or the device were replaced."""
        import torch

        if self._module is None or self._loaded is not self.params:
            module = self.build(self.vocab_size, self.config)
            if self.params:
                module.load_state_dict(
                    {name: torch.from_numpy(np.array(v)) for name, v in self.params.items()}
                )
            self._module, self._loaded, self._on = module, self.params, None
        if self._on != self.device:
            self._module, self._on = self._module.to(self.device), self.device
        found: nn.Module = self._module
        return found

    @contextlib.contextmanager
    def few_threads(self, trial: Trial) -> Iterator[None]:
        """Meanwhile one thread, where the network is too small for its products to be shared.

        With two, steps of the built-in networks took up to half as long again.
        """
        import torch

        before = torch.get_num_threads()
        small = sum(parameter.numel() for parameter in self.module.parameters()) < SMALL
        torch.set_num_threads(1 if small else trial.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def keep(self) -> None:
        """Copy the module's state into `params`."""
        state = self.module.state_dict()
        self.params = {name: as_array(value) for name, value in state.items()}
        self._loaded = self.params

    def rows(self, inputs: Ints) -> Floats:
        """log_softmax of the module's logits for any inputs, as float32 numpy."""
        import torch

        module = self.module
        modes = [(part, part.training) for part in module.modules()]
        module.eval()
        try:
            with torch.inference_mode():
                tokens = torch.from_numpy(np.array(inputs)).to(self.device)
                logits = module(tokens).float()
                return as_array(torch.log_softmax(logits, dim=-1))
        finally:
            for part, training in modes:
                part.training = training

    def log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, T, V)."""
        return self.rows(inputs)


def as_array(tensor: torch.Tensor) -> NDArray[Any]:
    """A tensor as a contiguous numpy array of its own."""
    return np.array(tensor.detach().cpu().numpy(), order="C", copy=True)
