"""What `harness gate` does on simulated histories, beside what it promises and what other tools' rules do.

    python tests/simulations/gate.py             the full form: under 5 minutes
    python tests/simulations/gate.py --short     seconds, as in the tests

A change has 20 cells. Speed: a process takes exp(noise) seconds. Within one job processes run one after
the other; each job is on another machine, and machines differ by 2.66 % (coefficient of variation between
runs on hosted runners: codspeed.io/blog/benchmarks-in-ci-without-noise). The gate sees 20 interleaved pairs
of one job; the published rules see 10 repetitions of base in one job and 10 of head in another, as when a
result of last week is kept. Quality: real names, scored by two fits of one model that differ in their seed
alone, drawn with replacement; their true difference is made what a row says.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from gate_quality import Quality, population, quality, unknowable
from gate_shares import FULL, SHORT, Share
from gate_speed import SLOWER, Noise, speed
from published_rules import RULES

from harness import formats
from harness.formats import Cells

# ---- tables


def tables(noises: Sequence[Noise], scenes: Sequence[Quality], cases: dict[str, Share]) -> list[list[Cells]]:
    """False alarms by rule, what is found by rule, the gate in full, quality, and the cases."""
    kinds = [noise.kind for noise in noises]
    rules = ["gate", *RULES]
    first = Cells("noise", kinds, words=True, name=True)
    return [
        [first, *(Cells(r, [f"{n.alarms[r].value:.3f}" for n in noises]) for r in rules)],
        [first, *(Cells(r, [f"{n.found[r][0.05].value:.3f}" for n in noises]) for r in rules)],
        [
            first,
            Cells("false alarm", [both(n.alarms["gate"]) for n in noises]),
            Cells("same: PASS", [f"{n.passed[0.0].value:.3f}" for n in noises]),
            *(
                Cells(
                    f"+{s:.0%}: FAIL / PASS",
                    [f"{n.found['gate'][s].value:.3f} / {n.passed[s].value:.3f}" for n in noises],
                )
                for s in SLOWER
            ),
        ],
        [
            Cells("documents: 3,000", [q.scene.what for q in scenes], words=True, name=True),
            Cells("a FAIL among 20", [both(q.alarms) for q in scenes]),
            *(
                Cells(a, [f"{q.answers[a].value:.3f}" for q in scenes])
                for a in ("FAIL", "PASS", "INCONCLUSIVE")
            ),
        ],
        [
            Cells("no PASS can be right", list(cases), words=True),
            Cells("PASS", [f"{share.found} of {share.of}" for share in cases.values()]),
        ],
    ]


TITLES = (
    "False alarms of a change with 20 cells, nothing changed",
    "+5 % time: found, by cell",
    "The gate: false alarms with 95 % intervals (Clopper–Pearson), answers by cell",
    "Quality",
    "Where nobody can know",
)


def both(share: Share) -> str:
    """`0.002 (0.000–0.007)`."""
    low, high = share.interval
    return f"{share.value:.3f} ({low:.3f}–{high:.3f})"


def shares(
    noises: Sequence[Noise], scenes: Sequence[Quality], cases: dict[str, Share]
) -> Iterator[tuple[str, Share]]:
    """Every share with a bound, and where it belongs."""
    for noise in noises:
        yield noise.kind, noise.alarms["gate"]
        yield from ((noise.kind, share) for share in noise.found["gate"].values())
    for each in scenes:
        yield each.scene.what, each.alarms
        yield from ((each.scene.what, share) for share in each.answers.values())
    yield from cases.items()


def main() -> None:
    """Simulate and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--short", action="store_true", help="fewer changes")
    options.add_argument("--markdown", action="store_true", help="as the tables of docs/gate.md")
    given = options.parse_args()
    form, real = SHORT if given.short else FULL, population()
    found = list(speed(form)), list(quality(form, real)), unknowable(form, real)
    for title, columns in zip(TITLES, tables(*found), strict=True):
        sheet = formats.markdown(columns) if given.markdown else formats.plain(columns, 120)
        print(f"{title}\n\n{sheet}\n")  # noqa: T201 - a script of its own
    missed = [
        f"{where}, {share.what}: {share.value:.4f}" for where, share in shares(*found) if not share.kept
    ]
    print(f"Not kept: {'; '.join(missed)}." if missed else "All bounds are kept.")  # noqa: T201


if __name__ == "__main__":
    main()
