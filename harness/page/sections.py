"""The page's sections: each takes the facts and gives its part of the page, or nothing."""

from __future__ import annotations

from collections.abc import Sequence

from harness import figures
from harness.formats import Cells, clean, middle
from harness.labels import called_row
from harness.notes import detectable, measured, notes
from harness.page import contrast, curves, ladder, pairs, parts, price, timeline
from harness.page.canvas import Chart, safe
from harness.page.facts import Certificate, Facts
from harness.page.markup import details, figure, listed, name, section, switch, table, terms
from harness.page.samples import samples
from harness.record import Header

SHORT = {"cost": "Cost", "curves": "Curves", "contrast": "Side by side", "bigram": "Bigrams", "data": "Data"}


def charts(facts: Facts) -> dict[str, list[Chart]]:
    """Every drawing of the page by its section."""
    curve, history = curves.chart(facts.rows), timeline.chart(facts.history)
    return {
        "leaderboard": [ladder.chart(facts.rows)],
        "cost": price.charts(facts.rows),
        "curves": [curve] if curve else [],
        "contrast": contrast.charts(facts.profiles) if facts.profiles else [],
        "bigram": [pairs.chart(found) for found in facts.tables],
        "history": [history] if history else [],
        "data": [parts.chart(measured(facts.rows))],
    }


def body(facts: Facts, drawn: dict[str, list[Chart]]) -> list[tuple[str, str, str]]:
    """Anchor, short title and HTML of every section that has something to show."""
    found = [
        ("leaderboard", "Leaderboard", leaderboard(facts, drawn["leaderboard"][0])),
        ("cost", "Quality against cost", switch("costs", "Cost", drawn["cost"])),
        ("curves", "Learning curves", "".join(map(figure, drawn["curves"]))),
        ("contrast", "Two models side by side", two_models(facts, drawn["contrast"])),
        ("bigram", "The bigram matrix", switch("matrix", "What is drawn", drawn["bigram"])),
        ("samples", "Samples", samples(facts.samples)),
        ("history", "History", "".join(map(figure, drawn["history"]))),
        ("data", "Data and split", data(facts, drawn["data"][0])),
        ("audits", "Audits", audits(facts.certificates)),
        ("environment", "Environment", environment(facts)),
    ]
    return [
        (anchor, SHORT.get(anchor, title), section(f"{anchor}-part", title, html))
        for anchor, title, html in found
        if html
    ]


def leaderboard(facts: Facts, chart: Chart) -> str:
    """The drawing, its table, and what must be known to read it."""
    return figure(chart) + details(
        "What the figures can and cannot say", listed(notes(facts.rows, facts.looks))
    )


def two_models(facts: Facts, drawn: Sequence[Chart]) -> str:
    """The choice of two models, and both drawings."""
    if facts.profiles is None:
        return ""
    models = facts.profiles.models
    missing = facts.profiles.left_out
    left_out = "".join(f"<p>{safe(line)}</p>" for line in contrast.missing(facts.profiles))
    left_out += details("Models left out here", listed(missing)) if missing else ""
    if not drawn:
        return left_out
    names = [model.name for model in models]
    picks = pick("a", "First model", names, 0) + pick("b", "Second model", names, min(1, len(names) - 1))
    drawings = "".join(f"<h3>{safe(chart.title)}</h3>{figure(chart)}" for chart in drawn)
    return f'<div class="picks">{picks}</div>{drawings}{left_out}'


def pick(side: str, said: str, names: Sequence[str], first: int) -> str:
    """A choice of a model; the script shows the chosen one."""
    options = "".join(
        f'<option value="{i}"{" selected" if i == first else ""}>{safe(name)}</option>'
        for i, name in enumerate(names)
    )
    choice = f'<select id="{side}-model" data-side="{side}">{options}</select>'
    return f'<label class="pick"><span class="sign {side}"></span>{said}{choice}</label>'


# ---- data, audits, environment


def data(facts: Facts, chart: Chart) -> str:
    """The parts, and what identifies them."""
    of = measured(facts.rows)
    pairs = [
        ("dataset", facts.header.dataset),
        ("split", facts.header.split),
        ("characters", f"{of.vocabulary} with the boundary" + (f": {of.alphabet}" if of.alphabet else "")),
        ("SHA-256 of the data", of.dataset_sha256),
        ("fingerprint of the split", of.split_fingerprint),
        ("units of uncertainty in test", f"{of.units:,}"),
        ("test scores on record", f"{facts.looks:,}"),
    ]
    return figure(chart) + terms(pairs)


def audits(found: Sequence[Certificate]) -> str:
    """A card a certificate: how many checks hold, and each of them."""
    return f'<div class="cards">{"".join(map(certificate, found))}</div>' if found else ""


def certificate(one: Certificate) -> str:
    """One model's checks."""
    words = {"pass": "✓ pass", "fail": "✗ fail", "n/a": "– n/a"}
    passed, failed = (sum(outcome == which for _, outcome, _ in one.checks) for which in ("pass", "fail"))
    said = f"✗ {failed} of {passed + failed} checks failed" if failed else f"✓ all {passed} checks passed"
    said += f", {one.date}" + (f", on {one.elsewhere}" if one.elsewhere else "")
    said += "" if one.current else "; of other code than that of this run"
    columns = [
        Cells("check", [clean(check) for check, _, _ in one.checks], words=True),
        Cells("outcome", [words.get(outcome, clean(outcome)) for _, outcome, _ in one.checks], words=True),
        Cells("found", [clean(text) for *_, text in one.checks], words=True),
    ]
    kind = "card failed" if failed else "card"
    every = details("Every check", table(columns, f"Audit of {one.model}"))
    return f'<article class="{kind}"><h3>{name(one.model)}</h3><p>{safe(said)}</p>{every}</article>'


def environment(facts: Facts) -> str:
    """What the host was when the newest run was made."""
    return terms([*of_run(facts.header), *((key, value) for key, value in flat(facts.header.environment))])


def of_run(header: Header) -> list[tuple[str, str]]:
    """What a run says of itself."""
    return [
        ("run", header.run_id),
        ("created", header.created),
        ("harness", f"{header.version}, {header.contract}"),
        ("budget", header.budget),
    ]


def flat(environment: dict[str, object]) -> list[tuple[str, str]]:
    """Names and values, tables within opened."""
    found: list[tuple[str, str]] = []
    for key, value in environment.items():
        if isinstance(value, dict):
            found += [(str(inner), str(of)) for inner, of in value.items()]
        else:
            found.append((str(key), "–" if value is None else str(value)))
    return found


def tiles(facts: Facts) -> list[tuple[str, str, str]]:
    """The four figures on top: title, figure, remark."""
    of = measured(facts.rows)
    scored = [row for row in facts.rows if row.test is not None]
    found = []
    best = scored[0] if scored else None
    if best is not None and best.test is not None:
        tied = sum(row.rank == best.rank for row in scored) - 1 if best.rank else 0
        said = middle(called_row(best), 60) + (f" and {tied} that cannot be told apart" if tied else "")
        found.append(("Best test NLL", figures.interval(figures.fixed(best.test.nats), best.test.half), said))
    if power := detectable(scored):
        low, median, high = power
        said = "nats to the best, with 80 % power"
        said += f"; median of {low} to {high}" * (low != high)
        found.append(("Smallest detectable difference", median, said))
    found.append(("Cells", str(len(facts.rows)), f"{sum(bool(row.ok) for row in facts.rows)} of them scored"))
    unit = "characters" if of.window else "documents"
    test = of.targets["test"] if of.window else of.documents["test"]
    known = "" if of.window or of.in_sample else f", {of.overlap['test']:,} of them in train too"
    found.append(("Test part", f"{test:,}", f"{unit}{known}; {facts.looks:,} scores on record"))
    return found
