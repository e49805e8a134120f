"""The transformer as a language model: the GPT of the lecture, of makemore.py and of microgpt.

Vaswani et al. 2017, Attention Is All You Need; Radford et al. 2019 (pre-norm); Karpathy, Let's build GPT.
Positions are learned and there are `block` of them: longer inputs are read in pieces that overlap by half.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from harness.contract import Config
from harness_plugins.block import BlockModel
from harness_plugins.prefix_tree import PrefixTree
from harness_plugins.sequence import Dropout, Network, State, Tensor


class Norm(nn.Module):
    """Layer norm with gain and bias, or the root mean square alone (Zhang & Sennrich 2019)."""

    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width)) if kind == "layer" else None
        self.bias = nn.Parameter(torch.zeros(width)) if kind == "layer" else None

    def forward(self, x: Tensor) -> Tensor:
        """Over the last axis."""
        if self.gain is None:
            return x * torch.rsqrt(x.pow(2).mean(dim=-1, keepdim=True) + 1e-5)
        return F.layer_norm(x, self.gain.shape, self.gain, self.bias)


class Attention(nn.Module):
    """Causal self-attention with several heads."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config["embedding"]
        self.heads = config["heads"]
        self.qkv = nn.Linear(width, 3 * width, bias=config["qkv_bias"])
        self.project = nn.Linear(width, width, bias=config["bias"])
        self.attention_dropout = Dropout(config["attention_dropout"])
        self.dropout = Dropout(config["dropout"])

    def forward(self, x: Tensor, before: State | None) -> tuple[Tensor, State]:
        """x (B, T, C), keys and values before it (B, heads, S, C/heads) -> (B, T, C), those of S + T."""
        b, t, c = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        if before is not None:
            k, v = torch.cat([before[0], k], dim=2), torch.cat([before[1], v], dim=2)
        if t == 1:  # sees all there is; sums over rows are twice as quick as a product for each document
            shares = torch.softmax((q * k).sum(dim=3, keepdim=True) / math.sqrt(c // self.heads), dim=2)
            mixed = (self.attention_dropout(shares) * v).sum(dim=2)  # (B, heads, C/heads)
            return self.dropout(self.project(mixed.reshape(b, 1, c))), (k, v)
        scores = q @ k.transpose(2, 3) / math.sqrt(c // self.heads)  # (B, heads, T, S + T)
        future = torch.ones(t, k.shape[2], dtype=torch.bool, device=x.device).triu(k.shape[2] - t + 1)
        weights = torch.softmax(scores.masked_fill(future, -math.inf), dim=3)
        mixed = self.attention_dropout(weights) @ v  # (B, heads, T, C/heads)
        return self.dropout(self.project(mixed.transpose(1, 2).reshape(b, t, c))), (k, v)

    def tree(self, x: Tensor, unseen: Tensor) -> Tensor:
        """The same at the nodes of a tree: x (N, C); unseen (N, N), −∞ where no prefix -> (N, C).

        All pairs of nodes are scored, since a product is quicker than a gather and its gradient.
        """
        n, c = x.shape
        q, k, v = self.qkv(x).view(n, 3, self.heads, c // self.heads).permute(1, 2, 0, 3)  # (heads, N, …)
        scale = 1 / math.sqrt(c // self.heads)
        scores = torch.baddbmm(unseen.expand(self.heads, n, n), q, k.transpose(1, 2), alpha=scale)
        mixed = self.attention_dropout(torch.softmax(scores, dim=2)) @ v  # (heads, N, C/heads)
        out: Tensor = self.dropout(self.project(mixed.transpose(0, 1).reshape(n, c)))
        return out


class Block(nn.Module):
    """Attention, then a two-layer network at each position, each beside a residual path."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config["embedding"]
        self.norm1, self.norm2 = Norm(config["norm"], width), Norm(config["norm"], width)
        self.attention = Attention(config)
        self.up = nn.Linear(width, 4 * width, bias=config["bias"])
        self.down = nn.Linear(4 * width, width, bias=config["bias"])
        self.relu = config["activation"] == "relu"
        self.dropout = Dropout(config["dropout"])

    def feed_forward(self, x: Tensor) -> Tensor:
        """(…, C) -> (…, C)."""
        inside = self.up(self.norm2(x))
        inside = F.relu(inside) if self.relu else F.gelu(inside, approximate="tanh")
        out: Tensor = self.dropout(self.down(inside))
        return out

    def forward(self, x: Tensor, before: State | None) -> tuple[Tensor, State]:
        """(B, T, C) -> (B, T, C), and the keys and values so far."""
        mixed, after = self.attention(self.norm1(x), before)
        x = x + mixed
        return x + self.feed_forward(x), after

    def tree(self, x: Tensor, unseen: Tensor) -> Tensor:
        """(N, C) -> (N, C)."""
        x = x + self.attention.tree(self.norm1(x), unseen)
        return x + self.feed_forward(x)


class Transformer(Network):
    """Embeddings of characters and positions, blocks, a last norm, a linear head."""

    def __init__(self, v: int, config: Config) -> None:
        super().__init__()
        width = config["embedding"]
        self.characters = nn.Embedding(v, width)
        self.positions = nn.Embedding(config["block"], width)
        self.dropout = Dropout(config["dropout"])
        self.first = Norm("rms", width) if config["norm"] == "rms" else nn.Identity()
        self.blocks = nn.ModuleList(Block(config) for _ in range(config["layers"]))
        self.last = Norm("layer", width) if config["norm"] == "layer" else nn.Identity()
        self.head = nn.Linear(width, v, bias=config["head_bias"])
        initialise(self, config)

    def embed(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """(…) and their positions -> (…, C)."""
        x: Tensor = self.first(self.dropout(self.characters(tokens) + self.positions(positions)))
        return x

    def forward(
        self, tokens: Tensor, state: State | None = None, *, last: bool = False
    ) -> tuple[Tensor, State]:
        """As `Network`; the state is each block's keys and values in turn."""
        start = 0 if state is None else state[0].shape[2]
        x = self.embed(tokens, torch.arange(start, start + tokens.shape[1], device=tokens.device))
        after: list[Tensor] = []
        for i, block in enumerate(self.blocks):
            x, kept = block(x, None if state is None else state[2 * i : 2 * i + 2])  # (B, T, C)
            after += kept
        return self.head(self.last(x[:, -1:] if last else x)), tuple(after)

    def tree(self, tree: PrefixTree) -> Tensor:
        """Logits (N, V): every distinct prefix is one row."""
        device, kind = self.head.weight.device, self.head.weight.dtype
        hidden = np.where(tree.prefixes(), np.float32(0), -np.inf)  # (N, N)
        unseen = torch.from_numpy(hidden).to(device, kind)
        level = torch.from_numpy(tree.level).to(device)
        x = self.embed(torch.from_numpy(tree.tokens).to(device), level)  # (N, C)
        for block in self.blocks:
            x = block.tree(x, unseen)  # type: ignore[operator]  # torch says Tensor | Module
        logits: Tensor = self.head(self.last(x))
        return logits


def initialise(network: Transformer, config: Config) -> None:
    """`torch`: its own; `gpt`: normal 0.02, and less into the residual path (GPT-2); `small`: normal 0.08."""
    if config["init"] == "torch":
        return
    spread = 0.02 if config["init"] == "gpt" else 0.08
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            into_residual = config["init"] == "gpt" and name.endswith(("project.weight", "down.weight"))
            nn.init.normal_(
                parameter, std=spread / math.sqrt(2 * config["layers"]) if into_residual else spread
            )
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)


class TransformerModel(BlockModel):
    """A transformer as a model."""

    def build(self, vocab_size: int, config: Config) -> Network:
        """The network with its initial weights."""
        return Transformer(vocab_size, config)
