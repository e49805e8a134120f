"""Cells of text -> a table for a terminal, Markdown, LaTeX or CSV; foreign texts are made harmless.

`clean` is the border: what passed it holds no control character, line break or direction mark. Each
format then escapes what is markup in it. Figures are texts already: nothing is parsed, cut or rounded.
"""

from __future__ import annotations

import csv
import io
import json
import re
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

GAP = 2  # between two columns
FLOOR = 12  # a column of names is made no narrower
LINES = 4  # of one cell; the middle of a longer one is left out
INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control, format, surrogate, line and paragraph separator


@dataclass(frozen=True)
class Cells:
    """One column: its title and a text a row."""

    title: str
    texts: Sequence[str]
    words: bool = False  # words stand left and may be broken over lines; figures stand right and are not
    name: bool = False  # repeated where a wide table is continued underneath

    @property
    def natural(self) -> int:
        """Its width when nothing is broken but the title."""
        return max(longest(self.title.split()), longest(self.texts))

    @property
    def narrowest(self) -> int:
        """The width to which it may be broken; for short words only between their pieces."""
        if not self.words:
            return self.natural
        pieces = max(longest(piece.rstrip() for piece in broken(text)) for text in self.texts)
        return min(self.natural, max(longest(self.title.split()), min(pieces, 30), FLOOR if self.name else 0))


def longest(texts: Any) -> int:
    """Characters of the longest text."""
    return max((len(text) for text in texts), default=0)


# ---- terminals


def plain(columns: Sequence[Cells], width: int) -> str:
    """A table at most `width` characters wide.

    Where that is too narrow, words are broken over lines; where it still is, the table goes on
    underneath with the names repeated. A figure is never broken.
    """
    least = [column.narrowest for column in columns]
    if sum(least) + GAP * (len(columns) - 1) <= width:
        return block(columns, fitted(columns, width))
    blocks: list[list[int]] = []
    room = 0
    for i in range(len(columns)):
        if room < least[i] + GAP:
            names = [j for j in range(i) if columns[j].name]
            blocks.append(names)
            room = width + GAP - sum(least[j] + GAP for j in names)
        blocks[-1].append(i)
        room -= least[i] + GAP
    parts = [[columns[i] for i in chosen] for chosen in blocks]
    return "\n\n".join(block(part, fitted(part, width)) for part in parts)


def fitted(columns: Sequence[Cells], width: int) -> list[int]:
    """A width for each column: names give way last, and none more than it must."""
    widths = [column.natural for column in columns]
    room = width - GAP * (len(columns) - 1)
    for names in (False, True):
        for i, column in enumerate(columns):
            if column.words and column.name is names:
                over = max(0, sum(widths) - room)
                widths[i] = max(column.narrowest, widths[i] - over)
    return widths


def block(columns: Sequence[Cells], widths: Sequence[int]) -> str:
    """Title, rule and rows (tabulate), with words broken at these widths."""
    titles = [textwrap.wrap(column.title, width) for column, width in zip(columns, widths, strict=True)]
    lines = [list(line) for line in zip(*level(titles, top=False), strict=True)]
    lines.append(["-" * width for width in widths])
    for row in zip(*(column.texts for column in columns), strict=True):
        cells = [
            wrapped(text, width) if column.words else [text]
            for text, column, width in zip(row, columns, widths, strict=True)
        ]
        lines += [list(line) for line in zip(*level(cells, top=True), strict=True)]
    return tabulate(
        lines,
        tablefmt="plain",
        disable_numparse=True,
        colalign=["left" if column.words else "right" for column in columns],
    )


def level(cells: Sequence[list[str]], *, top: bool) -> list[list[str]]:
    """Cells of as many lines each, filled up with empty ones."""
    height = max(len(lines) for lines in cells)
    empty = [[""] * (height - len(lines)) for lines in cells]
    return [[*lines, *rest] if top else [*rest, *lines] for lines, rest in zip(cells, empty, strict=True)]


def broken(text: str) -> list[str]:
    """The pieces between which a text may be broken: `count-`, `bigram`, `@numpy:`, `k=0`."""
    return re.findall(r"@?[^-@,: /]*[-,: /]?", text)[:-1] or [text]


def wrapped(text: str, width: int) -> list[str]:
    """The lines of a text; what has no place to break is shortened in the middle."""
    if len(text) <= width:
        return [text]
    lines = [""]
    for piece in broken(text):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += middle(piece, width)
    return lines if len(lines) <= LINES else [*lines[: LINES - 2], "…", lines[-1]]


def middle(text: str, width: int) -> str:
    """A text shortened in its middle: `trans…former`."""
    if len(text.rstrip()) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :] if tail else ''}"


# ---- documents


def markdown(columns: Sequence[Cells]) -> str:
    """A table of GitHub's Markdown."""
    return tabulate(
        list(zip(*([in_markdown(text) for text in column.texts] for column in columns), strict=True)),
        headers=[in_markdown(column.title) for column in columns],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["left" if column.words else "right" for column in columns],
    )


MARKDOWN = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;"} | {
    character: f"\\{character}" for character in "\\`*_[]~$#"
}


def in_markdown(text: str) -> str:
    """A text as Markdown shows it: no cell border, tag, link, emphasis or formula is left in it."""
    return "".join(MARKDOWN.get(character, character) for character in text)


def markdown_list(texts: Sequence[str]) -> str:
    """One bullet a text; none of them begins a heading or a list of its own."""
    texts = [text.lstrip() for text in texts]  # blanks after the bullet are not the note's
    begins = re.compile(r"[-+=]|\d(?=\d*[.)])")
    escaped = (begins.match(text) for text in texts)
    return "\n".join(
        f"- &#{ord(text[0])};{in_markdown(text[1:])}" if found else f"- {in_markdown(text)}"
        for text, found in zip(texts, escaped, strict=True)
    )


def latex(columns: Sequence[Cells], caption: str, notes: Sequence[str]) -> str:
    r"""A `table` for LaTeX with the rules of booktabs; the notes stand under it."""
    head = " & ".join(in_latex(column.title) for column in columns)
    cells = [
        [in_latex(text) if column.words else minus(in_latex(text)) for text in column.texts]
        for column in columns
    ]
    rows = [" & ".join(row) for row in zip(*cells, strict=True)]
    return "\n".join(
        [
            r"\begin{table}  % needs \usepackage{booktabs}",
            r"  \centering",
            rf"  \caption{{{in_latex(caption)}}}",
            rf"  \begin{{tabular}}{{{''.join('l' if column.words else 'r' for column in columns)}}}",
            r"    \toprule",
            rf"    {head} \\",
            r"    \midrule",
            *(rf"    {row} \\" for row in rows),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"  \par\medskip\raggedright\footnotesize",
            *(rf"  {in_latex(note)}\par" for note in notes),
            r"\end{table}",
        ]
    )


LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': '{"}',
    "[": "{[}",  # after \\ it would begin an optional argument
    "]": "{]}",
    "*": "{*}",
    "±": r"$\pm$",
    "–": "--",
    "…": r"\ldots{}",
} | {character: rf"\{character}" for character in "&%$#_"}


def in_latex(text: str) -> str:
    """A text in which nothing is a command."""
    return "".join(LATEX.get(character, character) for character in text)


def minus(figure: str) -> str:
    """A hyphen before a figure is a minus; two of them are the dash for what is absent."""
    return re.sub("(?<!-)-(?!-)", "$-$", figure)


# ---- machines


def comma_separated(rows: Sequence[Mapping[str, object]], fields: Sequence[str]) -> str:
    """CSV: floats to the last bit, absent empty; no text can be taken for a formula."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(fields)
    writer.writerows([in_csv(row[field]) for field in fields] for row in rows)
    return written.getvalue().removesuffix("\n")


def in_csv(value: object) -> object:
    """Numbers as they are; a text that a spreadsheet would compute gets an apostrophe before it."""
    if not isinstance(value, str):
        return value
    text = clean(value)
    return f"'{text}" if re.match(r"\s*[=+\-@\t＝＋－＠]", value) else text


def in_json(document: Any) -> str:
    """Strict JSON; what no terminal should obey is escaped, and reads back as it was."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    return re.sub(
        r"[^\n -~]", lambda found: json.dumps(found[0])[1:-1] if invisible(found[0]) else found[0], text
    )


def invisible(character: str) -> bool:
    """Whether it moves a cursor, breaks a line or turns the direction of a text."""
    return unicodedata.category(character) in INVISIBLE


def clean(text: str) -> str:
    """A foreign text made harmless: what is invisible becomes a visible escape."""
    if text.isprintable():  # nearly always, and told at once
        return text
    return "".join(ascii(character)[1:-1] if invisible(character) else character for character in text)
