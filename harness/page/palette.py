"""Colours, light and dark, and the style of what is drawn.

Six colours that stay apart for the colour-blind; a series also has a sign and a dash, a mark also a word,
so that no colour stands alone. All have a contrast of at least 4.5:1 on their paper.
"""

from __future__ import annotations

import re

LIGHT = {
    "paper": "#fdfdfc", "card": "#f6f6f3", "rule": "#e2e2dd", "axis": "#8d9096", "muted": "#5c6169",
    "ink": "#1c1f24", "accent": "#0b5cad", "soft": "#e4edf6", "band": "#f1f1ec",
    "k0": "#0b5cad", "k1": "#bd4b00", "k2": "#00796a", "k3": "#a3348f", "k4": "#8a6d00", "k5": "#555b66",
}  # fmt: skip
DARK = {
    "paper": "#15171a", "card": "#1d2024", "rule": "#32363c", "axis": "#767c85", "muted": "#a2a8b1",
    "ink": "#e9eaec", "accent": "#6fb1f5", "soft": "#1c2d40", "band": "#202327",
    "k0": "#6fb1f5", "k1": "#f0914f", "k2": "#3cc2ae", "k3": "#e08ad0", "k4": "#d3b23a", "k5": "#a9b0bb",
}  # fmt: skip

LEVELS = 12  # of a count: q0 is none, q11 the largest
SIGNED = 6  # of a weight: v0 … v12, v6 is zero

# what is drawn, by class; the page and single files share it
DRAWN = """
text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",Arial,sans-serif}
text{font-size:13px;fill:var(--ink)}
.m{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"Liberation Mono",monospace;font-size:12.5px}
.h{paint-order:stroke;stroke:var(--paper);stroke-width:4px;stroke-linejoin:round}
.t{font-size:12px;fill:var(--muted)}.g{fill:var(--muted)}.b{font-weight:600}.n{font-variant-numeric:tabular-nums}
.r{stroke:var(--rule);fill:none}.x{stroke:var(--axis);fill:none}.lead{stroke:var(--axis);fill:none;stroke-width:.8}
.band{fill:var(--band)}.soft{fill:var(--soft)}.bar{stroke:var(--ink);stroke-width:2;fill:none}.dot{fill:var(--ink)}
.first{fill:var(--accent)}.firstbar{stroke:var(--accent);stroke-width:2;fill:none}
.guide{stroke:var(--accent);stroke-dasharray:2 3;fill:none}
.front{stroke:var(--accent);stroke-width:2;fill:none;stroke-linejoin:round}
.off{fill:var(--paper);stroke:var(--muted);stroke-width:1.6}.change{stroke:var(--k1);stroke-width:1.6;fill:none}
.hatch{stroke:var(--paper);stroke-width:2;fill:none}
path.s,.end{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}.end{fill:var(--paper)}
.faint{stroke-opacity:.35}
.d1{stroke-dasharray:7 4}.d2{stroke-dasharray:2 4}.d3{stroke-dasharray:9 3 2 3}
.p{stroke:var(--paper);stroke-width:1;stroke-dasharray:none}
.model{display:none}.model.a,.model.b{display:inline}.line{fill:none;stroke-width:2;stroke-linejoin:round}
.model.a .line{stroke:var(--k0)}.model.b .line{stroke:var(--k1);stroke-dasharray:7 4}
.model.a .pa{fill:var(--k0)}.model.b .pa{fill:none;stroke:var(--k1);stroke-width:2.2}
.c{font-size:9.5px;text-anchor:middle}.u{font-size:8.5px;text-anchor:middle}
"""


def mixed(a: str, b: str, share: float) -> str:
    """A colour between two others."""
    parts = zip(rgb(a), rgb(b), strict=True)
    return "#" + "".join(f"{round(x + (y - x) * share):02x}" for x, y in parts)


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (x / 255 for x in rgb(colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    """Contrast of two colours, 1 to 21 (WCAG 2.2)."""
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def heat(theme: dict[str, str], strong: str, cold: str) -> dict[str, str]:
    """The steps of the two heat maps: counts from paper to blue, weights from orange over paper to blue."""
    paper = theme["paper"]
    steps = {f"q{i}": mixed(paper, strong, (i / (LEVELS - 1)) ** 1.2) for i in range(LEVELS)}
    for i in range(-SIGNED, SIGNED + 1):
        steps[f"v{i + SIGNED}"] = mixed(paper, strong if i > 0 else cold, abs(i) / SIGNED)
    return steps


def variables(dark: bool) -> dict[str, str]:
    """Every colour of a theme by name; `on-…` is the ink on a step of a heat map."""
    theme = DARK if dark else LIGHT
    steps = heat(theme, *(("#8cc4ff", "#f5a265") if dark else ("#08468c", "#9c3d00")))
    inks = ("#000000", "#ffffff")  # on any colour one of them has 4.58:1 at least
    return (
        theme
        | steps
        | {f"on-{name}": max(inks, key=lambda ink: contrast(ink, of)) for name, of in steps.items()}
    )


def steps_of_heat() -> list[str]:
    """The names of the steps."""
    return [f"q{i}" for i in range(LEVELS)] + [f"v{i}" for i in range(2 * SIGNED + 1)]


def drawn() -> str:
    """The style of everything that is drawn, colours as variables."""
    series = "".join(
        f"path.s.k{i},.end.k{i}{{stroke:var(--k{i})}}.p.k{i},text.k{i},rect.k{i}{{fill:var(--k{i})}}"
        for i in range(6)
    )
    cells = "".join(f".{s} path{{fill:var(--{s})}}.{s} text{{fill:var(--on-{s})}}" for s in steps_of_heat())
    return DRAWN.strip() + series + cells


def declared(dark: bool) -> str:
    """The variables of a theme as style."""
    return "".join(f"--{name}:{value};" for name, value in variables(dark).items())


def standalone(drawing: str, dark: bool = False) -> str:
    """A drawing as a file of its own: its style inside, its colours written out, on paper."""
    colours = variables(dark)
    used = set(re.findall(r"[\w-]+", " ".join(re.findall(r'class="([^"]*)"', drawing)))) | {"text"}
    rules = [
        rule
        for rule in re.findall(r"[^{}\n]+\{[^}]*\}", drawn())
        if set(re.findall(r"(?<=\.)[a-z]\w*", rule.partition("{")[0])) & used or rule.startswith("text{")
    ]
    style = re.sub(r"var\(--([\w-]+)\)", lambda found: colours[found[1]], "".join(rules))
    head, _, rest = drawing.partition(">")
    paper = f'<rect width="100%" height="100%" fill="{colours["paper"]}"/>'
    return f"{head}><style>{style}</style>{paper}{rest}\n"
