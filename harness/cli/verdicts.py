"""The verdict on a comparison in words, and what must be known to read its tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.figures import interval, short, tiny
from harness.statistics import FEWEST, METHOD, NEW_BEST

if TYPE_CHECKING:
    from harness.cli.compared import Result
    from harness.pairs import Pair
    from harness.statistics import Difference


def notes(result: Result) -> list[str]:
    """The verdict in words where there is one pair, what was tested, scope, looks, what was left out."""
    pairs, unit = result.pairs, units(result)
    lines = [sentence(pairs[0])] if len(pairs) == 1 else []
    lines += [
        *result.sources,
        f"NLL, A − B: nats per character; negative: A is better. ±: half a 95 % interval over {unit}.",
    ]
    known = [pair for pair in pairs if pair.difference is not None and pair.difference.se is not None]
    if known:
        with_seeds = any(pair.method and pair.difference and pair.difference.se_seeds for pair in known)
        also = "; where seeds are part of the claim Student's t" if with_seeds else ""
        lines.append(
            f"p: two-sided, {result.draws:,} sign flips of documents{also}. Holm: over the {result.tests:,} "
            f"test{'s' * (result.tests != 1)} of this table."
        )
        lines.append("detects: the smallest true difference found with 80 % power at the 5 % level.")
    elif any(pair.difference for pair in pairs):
        lines.append(f"Fewer than {FEWEST} {unit.partition(' ')[2]}: no intervals, no p, no verdict.")
    return [*lines, *scopes(pairs), *many_looks(result, known), *result.remarks]


def units(result: Result) -> str:
    """What the intervals are over."""
    import numpy as np

    scored = result.pairs[0].a
    kind = "blocks of 1,000 characters" if scored.facts.get("kind") == "text" else "distinct documents"
    return f"{len(np.unique(scored.units)):,} {kind}"


def sentence(pair: Pair) -> str:
    """The verdict on one pair in words."""
    a, b, found, better = pair.a.name, pair.b.name, pair.difference, pair.better
    if better is not None:
        worse = b if better is pair.a else a
        if found is None:
            return f"{better.name} is better: {worse} gives p = 0 to a target. Scope: {pair.scope}."
        by = interval(short(abs(found.nats)), found.half)
        return f"{better.name} is better than {worse} by {by} nats per character. Scope: {pair.scope}."
    if pair.verdict == "not told apart" and found is not None:
        return (
            f"{a} and {b} are not told apart: a difference below {detects(found)} nats would often be "
            f"missed. Scope: {pair.scope}."
        )
    return f"{a} and {b}: {pair.verdict}."


def scopes(pairs: Sequence[Pair]) -> list[str]:
    """What the scopes mean that stand in the table."""
    found = {pair.scope for pair in pairs}
    lines = []
    if any("checkpoint" in scope for scope in found):
        lines.append(
            "Scope checkpoint: it speaks of these fitted models, not of their methods: that takes "
            f"{METHOD} seeds of each."
        )
    if "method" in found:
        lines.append(
            f"Scope method: {METHOD} seeds or more of each (one of a model that draws nothing); ± holds "
            "documents and seeds."
        )
    return lines


def many_looks(result: Result, known: Sequence[Pair]) -> list[str]:
    """From where on a difference makes a new best, after many looks at one test part."""
    if not known:
        return []
    began = (
        "A file does not say how often its documents were looked at."
        if result.looks is None
        else f"Test scores on record for this split: {result.looks:,}."
    )
    line = f"{began} After many looks at one test part a new best counts from {NEW_BEST} · se"
    if len(known) == 1:
        found, needed = known[0].difference, known[0].new_best_from or 0.0
        counts = found is not None and abs(found.nats) >= needed > 0
        line += f" = {short(needed)} nats; this difference is {'above' if counts else 'not above'} it"
    return [f"{line}."]


def detects(difference: Difference | None) -> str:
    """The smallest difference found with 80 % power."""
    found = None if difference is None else difference.detectable
    return tiny(found) if found is not None and 0 < found < 5e-4 else short(found)
