"""Accidents of bytes: flipped bits, lines that are cut, doubled, swapped, lost or from elsewhere."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from harness import store, store_check
from harness.errors import StoreError
from store_proof import world
from store_proof.world import Cases

Lines = list[bytes]


def flip(lines: Lines, draw: random.Random, other: Lines) -> Lines:
    """One bit anywhere."""
    content = bytearray(b"".join(lines))
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return [bytes(content)]


def cut(lines: Lines, draw: random.Random, other: Lines) -> Lines:
    """The end is gone, from anywhere on; every second time from the end of a line."""
    content = b"".join(lines)
    if draw.random() < 0.5:
        return lines[: draw.randrange(len(lines))]
    return [content[: draw.randrange(len(content))]]


def double(lines: Lines, draw: random.Random, other: Lines) -> Lines:
    """A line stands twice, the second time anywhere."""
    changed = list(lines)
    changed.insert(draw.randrange(len(lines) + 1), draw.choice(lines))
    return changed


def swap(lines: Lines, draw: random.Random, other: Lines) -> Lines:
    """Two lines change places."""
    first, second = draw.sample(range(len(lines)), 2)
    changed = list(lines)
    changed[first], changed[second] = lines[second], lines[first]
    return changed


def lose(lines: Lines, draw: random.Random, other: Lines) -> Lines:
    """A line is gone."""
    changed = list(lines)
    del changed[draw.randrange(len(lines))]
    return changed


def graft(lines: Lines, draw: random.Random, other: Lines) -> Lines:
    """A cell of another run is put in, or stands in a cell's place."""
    changed, place = list(lines), draw.randrange(1, len(lines) - 1)
    changed[place : place + draw.randrange(2)] = [draw.choice(other[1:-1])]
    return changed


LINES: dict[str, Callable[[Lines, random.Random, Lines], Lines]] = {
    "flip": flip, "cut": cut, "double": double, "swap": swap, "lose": lose, "graft": graft,
}  # fmt: skip


def written(path: Path, cells: range) -> Lines:
    """A closed run of these cells; its lines with their ends."""
    writer = store.Writer(path, world.header(path.stem, cells.stop))
    for number in cells:
        world.append(writer, number)
    writer.close()
    return path.read_bytes().splitlines(keepends=True)


def mutations(folder: Path, times: int, cells: int, seed: int = 0) -> Cases:
    """Each mutation alone: every record is read exactly or its loss is named, none twice, none invented."""
    draw = random.Random(seed)
    path = folder / "run.jsonl"
    lines = written(path, range(cells))
    other = written(folder / "other.jsonl", range(cells + 20))[cells - 10 :]
    original = {one.cell: one for one in store.read(path).records}
    kinds = [*LINES, "side file"]
    for number in range(times):
        kind = draw.choices(kinds, [8, 2, 2, 2, 1, 1, 2])[0]
        if kind == "side file":
            wrong = side_file(path, draw)
        else:
            content = b"".join(LINES[kind](lines, draw, other))
            path.write_bytes(content)
            wrong = damage_of_lines(path, original, kind, content, b"".join(lines))
            path.write_bytes(b"".join(lines))
        yield [f"mutation {number}, {kind}: {text}" for text in wrong]


def damage_of_lines(
    path: Path, original: dict[int, store.Record], kind: str, content: bytes, whole: bytes
) -> list[str]:
    """What is wrong with how a mutated run file is read and named."""
    report = store_check.Report()
    try:
        run = store.read(path)
    except StoreError:
        store_check.check_file(path, report)
        named = {finding.state for finding in report.findings}
        return [] if named & {"damaged", "torn"} else [f"an unreadable file is called {named}"]
    findings = [*store_check.of_lines(run), *store_check.of_records(run)]
    named = {finding.state for finding in findings}
    seen = [one.cell for one in run.records]
    wrong = ["twice"] if len(seen) != len(set(seen)) else []
    strange = [one.cell for one in run.records if one != original.get(one.cell)]
    if strange and "damaged" not in named:
        wrong.append(f"cells {strange} are invented, and nobody says so")
    lost = set(original) - set(seen)
    if lost and not named & {"damaged", "torn"} and not (kind == "cut" and "open" in named):
        wrong.append(f"cells {sorted(lost)} are gone, and the file is called {named}")
    if kind in ("double", "graft") and "damaged" not in named:
        wrong.append(f"a line too many, and the file is called {named}")
    if whole.startswith(content) and run.closed:
        wrong.append("a file without its end is called closed")
    return wrong


def side_file(path: Path, draw: random.Random) -> list[str]:
    """A side file is flipped, cut, emptied or lost: `verify --store` names it, and no other."""
    file = draw.choice(sorted(store.side_folder(path).iterdir()))
    content = file.read_bytes()
    kind = draw.choice(["flip", "cut", "lose"])
    if kind == "lose":
        file.unlink()
    else:
        changed = bytearray(content)
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        file.write_bytes(changed if kind == "flip" else content[: draw.randrange(len(content))])
    report = store_check.Report()
    store_check.check_file(path, report)
    file.write_bytes(content)
    damaged = [finding.text for finding in report.findings if finding.state == "damaged"]
    if len(damaged) == 1 and file.name in damaged[0]:
        return []
    return [f"{kind} of {file.name}: {damaged}"]
