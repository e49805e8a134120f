"""One self-contained page about runs: HTML with drawings in it, offline, no library.

`gather` reads, `sections` arranges, a module a drawing draws; this one sets the page. Nothing is loaded
and nothing in it is run but one short script of ours, which the Content-Security-Policy names by its hash.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from harness.page import palette, sections
from harness.page.canvas import Chart, safe
from harness.page.facts import Facts
from harness.page.markup import details, listed, name

MARK = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="harness">'
)


def page(facts: Facts) -> tuple[str, list[Chart]]:
    """The page and its drawings."""
    drawn = sections.charts(facts)
    parts = sections.body(facts, drawn)
    style, script = sheet(), asset("page.js")
    header = facts.header
    allowed = f"style-src {hashed(style)}; script-src {hashed(script)}"
    policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    contents = "".join(f'<li><a href="#{anchor}-part">{title}</a></li>' for anchor, title, _ in parts)
    more = f", with cells of {len(facts.others)} more" if facts.others else ""
    tiles = "".join(
        f'<div class="tile"><p>{safe(title)}</p><strong>{safe(figure)}</strong><p>{name(remark)}</p></div>'
        for title, figure, remark in sections.tiles(facts)
    )
    left_out = details("What could not be shown", listed(facts.left_out)) if facts.left_out else ""
    html = "\n".join(
        [
            MARK,
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{safe(header.dataset)} – harness</title>",
            f"<style>{style}</style></head><body>",
            '<a class="skip" href="#leaderboard-part">To the leaderboard</a>',
            '<header><div class="top"><p class="brand">harness</p>'
            '<button id="theme" type="button" hidden>Dark</button></div>'
            f"<h1>{name(header.dataset)}</h1>"
            f'<p class="lead">{name(header.split)} split, run {name(header.run_id)}{more}</p></header>',
            f'<nav aria-label="Sections"><ol>{contents}</ol></nav>',
            f'<main><div class="tiles">{tiles}</div>{left_out}',
            *(html for _, _, html in parts),
            f"</main><footer><p>Made by harness {safe(header.version)}. It loads nothing.</p></footer>",
            f"<script>{script}</script></body></html>\n",
        ]
    )
    return html, [chart for found in drawn.values() for chart in found]


def sheet() -> str:
    """The style of the page: themes, what is drawn, and the rest."""
    light, dark = palette.declared(False), palette.declared(True)
    themes = (
        f":root{{{light}color-scheme:light}}"
        f"@media(prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}color-scheme:dark}}}}"
        f":root[data-theme=dark]{{{dark}color-scheme:dark}}"
        f"@media print{{:root:root:root{{{light}--paper:#ffffff;color-scheme:light}}}}"
    )
    return themes + palette.drawn() + asset("page.css")


def asset(file: str) -> str:
    """A file beside this one."""
    return files("harness.page").joinpath(file).read_text(encoding="utf-8")


def hashed(inside: str) -> str:
    """A source of a Content-Security-Policy: exactly this text, and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()}'"
