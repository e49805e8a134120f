"""The documents as pages: they build, their links lead somewhere, the reference says what the code says."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path

import pytest

import harness
from harness import hookspecs

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference.md"
PAGES = [*sorted(DOCS.rglob("*.md")), *sorted(ROOT.glob("*.md"))]


# ---- pages


def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    """`sphinx-build -W docs OUT`: every page is in the contents, every reference is met."""
    out = tmp_path / "pages"
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", str(tmp_path / "trees")]
    done = subprocess.run([*command, str(DOCS), str(out)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    built = {path.relative_to(out).with_suffix(".md") for path in out.rglob("*.html")}
    assert built >= {path.relative_to(DOCS) for path in DOCS.rglob("*.md")}


# ---- links


def without_code(text: str) -> str:
    """A document without its fenced blocks and code spans, where brackets are no links."""
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


@cache
def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    """A link without a scheme is a file of this checkout, and its anchor a heading there."""
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


def mentions() -> dict[str, list[str]]:
    """File -> the pages `docs/….md` that it speaks of; the numbers of decisions may be made up."""
    names = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "pyproject.toml"]
    files = [ROOT / name for name in names] + list(DOCS.rglob("*.md"))
    for shelf in ("harness", "plugins", "datasets", "tests"):
        files += [path for path in (ROOT / shelf).rglob("*.*") if path.suffix in (".py", ".toml", ".md")]
    return {
        path.relative_to(ROOT).as_posix(): re.findall(
            r"\bdocs/[\w/-]+\.md\b", path.read_text(encoding="utf-8")
        )
        for path in files
    }


def test_every_page_that_is_mentioned_is_there() -> None:
    """What an error, a docstring or a document sends its reader to exists."""
    found = mentions()
    assert "docs/plugins.md" in found["README.md"]
    dead = {(file, page) for file, pages in found.items() for page in pages if not (ROOT / page).is_file()}
    assert dead == set()


# ---- the reference


@cache
def parsed(module: str) -> tuple[ast.Module, list[str]]:
    """The tree of a module and its lines."""
    spec = importlib.util.find_spec(module)
    assert spec
    assert spec.origin
    text = Path(spec.origin).read_text(encoding="utf-8")
    return ast.parse(text), text.splitlines()


def head(node: ast.FunctionDef | ast.ClassDef, lines: list[str]) -> list[str]:
    """Its source from the first decorator to the end of its docstring."""
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    inside = node.body[0]
    documented = isinstance(inside, ast.Expr) and isinstance(inside.value, ast.Constant)
    last = (inside.end_lineno or 0) if documented else inside.lineno - 1
    shown = [line for line in lines[first - 1 : last] if line.strip() != "@hookspec"]
    return shown if documented else [*shown[:-1], f"{shown[-1]} ..."]


def interface(name: str) -> str:
    """A function, or a class with its public fields and methods: the source without the bodies."""
    module, _, attribute = name.rpartition(".")
    tree, lines = parsed(module)
    (node,) = (
        each
        for each in tree.body
        if isinstance(each, ast.FunctionDef | ast.ClassDef) and each.name == attribute
    )
    shown, fields = head(node, lines), []
    if isinstance(node, ast.ClassDef):
        for member in node.body:
            if isinstance(member, ast.AnnAssign) and not ast.unparse(member.target).startswith("_"):
                fields += lines[member.lineno - 1 : member.end_lineno]
        shown += [""] * bool(fields) + fields
        for member in node.body:
            if isinstance(member, ast.FunctionDef) and re.match("__init__|[^_]", member.name):
                shown += ["", *head(member, lines)]
    return textwrap.dedent("\n".join(re.sub(r"  # (type: ignore|noqa).*", "", line) for line in shown))


def written(text: str) -> str:
    """The reference with the block under every mark as the code has it now."""

    def block(mark: re.Match[str]) -> str:
        return f"{mark[1]}\n```python\n{interface(mark[2])}\n```\n"

    return re.sub(r"(<!-- interface: ([\w.]+) -->)\n(?:```python\n.*?\n```\n)?", block, text, flags=re.DOTALL)


def test_the_reference_is_what_the_code_says() -> None:
    """Signatures, fields, defaults and docstrings; `python tests/test_docs.py` writes them."""
    text = REFERENCE.read_text(encoding="utf-8")
    assert text.count("<!-- interface:") > 20
    assert text == written(text)


def test_the_reference_has_every_hook_and_every_public_name() -> None:
    """All of `harness.__all__`, and each hook of `hookspecs`, in their own block."""
    shown = re.findall(r"<!-- interface: [\w.]+\.(\w+) -->", REFERENCE.read_text(encoding="utf-8"))
    hooks = [name for name in vars(hookspecs) if name.startswith("harness_")]
    assert len(hooks) >= 3
    assert set(shown) >= {*hooks, *harness.__all__} - {"hookimpl"}  # a mark, and the page says so


if __name__ == "__main__":
    REFERENCE.write_text(written(REFERENCE.read_text(encoding="utf-8")), encoding="utf-8")
