"""Models made of models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import ModelSpec
from harness_plugins.specs.checks import at_least


def members(config: Mapping[str, Any]) -> list[str]:
    """The selections of `of`: `ngram+gru(hidden=256;layers=2)` -> `ngram`, `gru:hidden=256,layers=2`."""
    found, depth = [""], 0
    for character in config["of"]:
        depth -= character == ")"
        if character == "+" and depth == 0:
            found.append("")
        elif depth == 0 and character in "()":
            found[-1] += ":" if character == "(" else ""
        else:
            found[-1] += "," if character == ";" and depth == 1 else character
        depth += character == "("
    return [text.strip() for text in found]


def mixture_options(config: Mapping[str, Any]) -> str | None:
    """What is wrong with a mixture's options, if anything."""
    of = config["of"]
    if of.count("(") != of.count(")") or not all(members(config)):
        return f"of={of} is not of the form NAME+NAME(KEY=VALUE;KEY=VALUE)"
    return at_least(config, positions=1)


SPECS = [
    ModelSpec(
        "mixture",
        {"numpy": "harness_plugins.mixture:Mixture"},
        config={"of": "ngram(preset=lines)+gru+lstm", "positions": 8, "weights": "dev"},
        members=members,
        check=mixture_options,
        words={"weights": ("dev", "held-out")},
        uses_dev=lambda config: config["weights"] == "dev",
        stochastic=None,  # as its members
        paper="Jelinek & Mercer 1980, Interpolated estimation of Markov source parameters",
        description="several models, their probabilities weighted by EM on dev",
    ),
]
