"""The plan of the house: who may import whom, what an import may load, what every hook must have."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import harness
from harness import hookspecs

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "harness": ROOT / "harness",
    "harness_plugins": ROOT / "plugins" / "harness_plugins",
    "harness_datasets": ROOT / "datasets" / "harness_datasets",
}
HEAVY = {"torch", "numba", "scipy"}

# The table of DESIGN, "The line": a module of `harness` -> what it may import of `harness`. Everyone may
# import `errors`, and `cli` everything. A new module is a new row here and there.
STAGES = {"dataset", "split", "fit", "evaluate", "sample", "record", "store", "report"}
SERVICES = {"contract", "corpus", "registry", "selection", "seeds", "settings", "environment", "statistics"}
DRAWN = {"columns", "labels", "values", "compare", "figures", "formats", "record"} | {
    f"page.{shared}" for shared in ("axes", "canvas", "palette", "scales")
}
MAY_IMPORT: dict[str, set[str]] = {
    "": {"contract", "corpus", "hookspecs", "runner", "notebook"},  # the names of `import harness`, lazy
    "__main__": {"cli"},
    "errors": set(),
    "corpus": set(),
    "ancestral": {"corpus"},
    "contract": {"ancestral", "corpus"},
    "hookspecs": {"contract"},
    "program": {"contract"},
    "registry": {"contract", "hookspecs", "program"},
    "selection": {"contract", "program", "registry"},
    "instances": {"contract", "registry", "selection", "seeds"},
    "seeds": set(),
    "settings": set(),
    "environment": set(),
    "dataset": {"contract", "corpus"},
    "split": {"corpus", "seeds"},
    "fit": {"contract", "corpus"},
    "evaluate": {"contract", "corpus"},
    "agreement": {"contract", "corpus", "evaluate"},
    "sample": {"contract", "corpus"},
    "statistics": set(),
    "record": set(),
    "durable": set(),
    "run_file": {"record"},
    "writer": {"record", "run_file", "durable"},
    "store": {"record", "run_file", "writer", "durable"},
    "store_check": {"record", "store", "run_file"},
    "compare": {"record", "statistics"},
    "pairs": {"compare", "statistics"},
    "gate": {"figures", "statistics"},
    "change": {"record", "statistics", "compare", "labels", "gate"},
    "committed": {"record", "store"},
    "environments": {"record", "store"},
    "score_file": {"formats", "pairs"},
    "figures": set(),
    "formats": set(),
    "labels": {"record", "compare"},
    "values": {"record", "compare"},
    "columns": {"compare", "statistics", "figures", "formats", "labels", "values"},
    "notes": {"record", "statistics", "compare", "labels", "values", "figures", "formats"},
    "report": {"record", "statistics", "compare", "history", "columns", "labels", "notes", "formats"},
    "wire": {"contract", "corpus"},
    "worker": {"contract", "corpus", "registry", "instances", "wire"},
    "server": {"worker"},
    "forks": set(),
    "memory": set(),
    "child": {"wire", "forks", "memory", "engine"},
    "engine": {"child", "forks"},
    "program_child": {"program", "wire", "child", "engine", "memory"},
    "proxy": {"contract", "corpus", "child", "engine", "program", "program_child"},
    "program_model": {"contract", "corpus", "program", "child", "engine", "proxy"},
    "torch_model": {"contract", "corpus"},
    "plan": STAGES | SERVICES,
    "measure": STAGES | SERVICES | {"agreement", "plan"},
    "turns": set(),
    "interrupts": {"store"},
    "outcome": {"contract", "child", "fit", "record"},
    "runner": STAGES
    | SERVICES
    | {"certificate", "instances", "interrupts", "turns", "outcome", "plan", "measure"}
    | {"child", "engine", "proxy"},
    "space": {"contract", "selection"},
    "tune": {"compare", "plan", "record", "seeds", "selection", "space", "statistics"},
    "metrics": {"record", "figures"},
    "changes": set(),
    "history": {"record", "store", "labels", "compare", "changes", "metrics", "selection"},
    "history_picture": {"figures", "formats", "history", "svg"},
    "benchmark_json": {"record", "store", "labels", "compare"},
    "export": {"record", "store", "report", "labels", "compare", "formats", "metrics", "benchmark_json"},
    "lr_range": {"fit", "plan", "record", "seeds", "space", "tune"},
    "picture": {"formats", "lr_range", "svg"},
    "svg": {"formats"},
    "notebook": STAGES | SERVICES | {"instances", "plan", "measure", "runner"},
    "held": STAGES | SERVICES | {"plan"},
    "rederive": STAGES | SERVICES | {"measure", "held"},
    "verify": STAGES | SERVICES | {"compare", "labels", "held", "rederive"},
    "rerun": STAGES | SERVICES | {"plan", "runner", "labels", "held", "rederive"},
    "causes": set(),
    "doctor": {"causes"},
    "author_file": {"causes"},
    "reference": STAGES | SERVICES | {"causes", "instances"},
    "certificate": {"dataset", "record", "registry", "selection", "store"},
    "subject": STAGES | SERVICES | {"certificate", "instances", "child", "engine", "proxy"},
    "moves": STAGES | SERVICES | {"agreement", "subject"},
    "checks_rows": STAGES | SERVICES | {"moves", "subject"},
    "checks_fit": STAGES | SERVICES | {"moves", "subject"},
    "codec": {"contract", "corpus", "evaluate"},
    "container": {"corpus", "codec"},
    "canaries": {"contract", "corpus"},
    "processes": set(),
    "goodness": {"contract", "corpus", "evaluate", "statistics"},
    "checks_law": STAGES | SERVICES | {"codec", "goodness", "subject"},
    "watching": STAGES | SERVICES | {"agreement", "processes", "proxy", "subject"},
    "checks_process": STAGES | SERVICES | {"agreement", "canaries", "subject", "watching"},
    "audit": {"child", "subject", "checks_rows", "checks_fit", "checks_law", "checks_process"},
    "testing": STAGES | SERVICES | {"plan", "engine", "subject", "audit"},
    # the page of `harness report`: what draws knows records and figures, `gather` and `profiles` read
    "page.scales": {"figures", "picture"},
    "page.canvas": {"formats"},
    "page.palette": set(),
    "page.axes": {"page.canvas", "page.scales"},
    "page.ladder": DRAWN,
    "page.price": DRAWN,
    "page.curves": DRAWN,
    "page.contrast": DRAWN | {"page.profiles"},
    "page.pairs": DRAWN,
    "page.parts": DRAWN,
    "page.timeline": DRAWN | {"history"},
    "page.profiles": {
        "labels",
        "compare",
        "corpus",
        "evaluate",
        "notebook",
        "program",
        "record",
        "selection",
    },
    "page.facts": {"compare", "history", "record", "page.pairs", "page.profiles"},
    "page.certificates": {"certificate", "labels", "record", "page.facts"},
    "page.gather": STAGES
    | SERVICES
    | {"changes", "labels", "compare", "held", "history", "metrics", "notebook"}
    | {"page.certificates", "page.facts", "page.pairs", "page.profiles", "page.timeline"},
    "page.markup": {"formats", "page.canvas"},
    "page.samples": {"figures", "formats", "record", "page.canvas", "page.facts", "page.markup"},
    "page.sections": DRAWN
    | {"notes", "page.facts", "page.markup", "page.samples"}
    | {
        f"page.{drawing}"
        for drawing in ("contrast", "curves", "ladder", "pairs", "parts", "price", "timeline")
    },
    "page": {"page.canvas", "page.facts", "page.markup", "page.palette", "page.sections"},
    "page.pictures": {"store", "page", "page.canvas", "page.palette"},
    "published": {"settings"},
    "scaffold": set(),
    "scorecard": {
        "record",
        "store",
        "published",
        "compare",
        "columns",
        "values",
        "notes",
        "figures",
        "formats",
    },
    "suite": STAGES
    | SERVICES
    | {"plan", "runner", "notebook", "published", "scorecard", "compare", "values"},
}

# Where the house is wider than the table, each with its reason; to be mended there or here.
WIDER = {
    ("hookspecs", "record"): "for type checkers: `harness_record` is told of a Record",
    ("contract", "store"): "for type checkers: an exporter is given runs as they were read",
    ("dataset", "settings"): "the folders of data and cache, and whether downloads are forbidden",
    ("fit", "seeds"): "the generators that a plugin may use are seeded before it is made",
    ("worker", "seeds"): "the same in the child",
    ("sample", "record"): "sample statistics are measured as they are written down",
    ("engine", "environment"): "how libraries are told their threads",
}


def modules() -> dict[str, Path]:
    """Every module of ours by its full name."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join([package, *parts]).removesuffix(".__init__")] = path
    return found


MODULES = modules()


@cache
def parsed(name: str) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def named_by(name: str, node: ast.AST) -> Iterator[str]:
    """The full names that an import statement of a module asks for."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        source = node.module or ""
        if node.level:
            package = name.split(".") + ["x"] * (MODULES[name].name == "__init__.py")
            source = ".".join([*package[: -node.level], *filter(None, [source])])
        yield from (f"{source}.{alias.name}" for alias in node.names)


def home(target: str) -> str | None:
    """The module of ours that an imported name comes from; None for what is foreign."""
    if target.partition(".")[0] not in PACKAGES:
        return None
    package, _, attribute = target.rpartition(".")
    if target in MODULES:
        return target
    if package == "harness":  # a lazy name: it loads the module that defines it
        return harness._HOMES.get(attribute, "harness")
    return package


def imports(name: str) -> set[str]:
    """Our modules that a module imports: at its top, inside functions and for type checkers only."""
    found = {home(target) for node in ast.walk(parsed(name)) for target in named_by(name, node)}
    return {module for module in found if module is not None}


def short(name: str) -> str:
    """`harness.cli.run` -> `cli.run`."""
    return name.removeprefix("harness").removeprefix(".")


HARNESS = [name for name in MODULES if name.partition(".")[0] == "harness"]


ROWS = [name for name in HARNESS if not short(name).startswith("cli")]


def test_every_module_has_its_row() -> None:
    """The table names the modules of `harness` that there are, and no others."""
    assert set(MAY_IMPORT) == {short(name) for name in ROWS}


@pytest.mark.parametrize("name", ROWS)
def test_a_module_imports_what_the_table_allows(name: str) -> None:
    """No module of `harness` imports another one that its row does not name."""
    row = short(name)
    allowed = MAY_IMPORT[row] | {"errors"} | {target for module, target in WIDER if module == row}
    found = {short(module) for module in imports(name) - {name, "harness"}}
    assert found - allowed == set()


def test_the_exceptions_to_the_table_are_used() -> None:
    """An exception that nobody needs any more is taken out."""
    used = {(short(name), short(module)) for name in HARNESS for module in imports(name)}
    assert set(WIDER) - used == set()


def test_a_stage_imports_no_other_stage() -> None:
    """In the table itself: data flows through `runner`; only what is written down is shared."""
    written = {"record"}
    line = STAGES - {"store"}
    assert {stage: MAY_IMPORT[stage] & line - written for stage in line} == {stage: set() for stage in line}


@pytest.mark.parametrize("name", HARNESS)
def test_harness_imports_no_plugin(name: str) -> None:
    """The built-in models and data are plugins like any others."""
    assert {module.partition(".")[0] for module in imports(name)} <= {"harness"}


@pytest.mark.parametrize("name", [name for name in MODULES if name not in HARNESS])
def test_plugins_import_of_ours_only_harness(name: str) -> None:
    """Models do not know the data, nor the data the models."""
    assert {module.partition(".")[0] for module in imports(name)} <= {"harness", name.partition(".")[0]}


def loaded_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The statements that run when a module is imported: not functions, not `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield other
                yield from loaded_at_import(other)
            continue
        yield child
        yield from loaded_at_import(child)


@pytest.mark.parametrize("name", [*HARNESS, "harness_plugins", "harness_datasets"])
def test_nothing_heavy_is_imported_at_module_level(name: str) -> None:
    """torch, numba and scipy are imported where they are used."""
    statements = loaded_at_import(parsed(name))
    found = {target.partition(".")[0] for node in statements for target in named_by(name, node)}
    assert found & HEAVY == set()


# ---- what a command loads


def loaded_by(code: str) -> set[str]:
    """The top-level modules that a new process has loaded after some code."""
    last = "import json, sys; print(); print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{last}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_harness_loads_no_numpy() -> None:
    """Names are loaded when they are first used."""
    loaded = loaded_by("import harness")
    assert "harness" in loaded
    assert loaded & {"numpy", "click", "rich", *HEAVY} == set()


def test_help_loads_nothing_heavy() -> None:
    """`harness --help`, `--version` and the help of every verb answer in a blink."""
    loaded = loaded_by(
        "from harness.cli import VERBS, main\n"
        "assert main(['--help']) == main(['--version']) == 0\n"
        "assert all(main([verb, '--help']) == 0 for verb in VERBS)"
    )
    assert "click" in loaded
    assert loaded & {"numpy", "rich", *HEAVY} == set()


def test_list_models_loads_nothing_heavy() -> None:
    """Whether torch is there is told without importing it."""
    loaded = loaded_by("from harness.cli import main\nassert main(['list', 'models']) == 0")
    assert "harness_plugins" in loaded
    assert loaded & HEAVY == set()


# ---- hooks

HOOKS = {
    name: function
    for name, function in vars(hookspecs).items()
    if inspect.isfunction(function) and hasattr(function, "harness_spec")
}


def test_the_hooks_are_those_of_the_contract() -> None:
    """The walk below finds them."""
    assert set(HOOKS) >= {"harness_models", "harness_datasets", "harness_exporters", "harness_record"}


@cache
def names_of_tests() -> list[str]:
    """The names of all tests of this folder."""
    texts = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py")]
    return [name for text in texts for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE)]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_test(hook: str) -> None:
    """Some test's name says which hook it is about."""
    assert [name for name in names_of_tests() if hook in name]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_with_its_signature(hook: str) -> None:
    """docs/plugins.md has `hook(its, arguments)`, with or without their types."""
    arguments = ", ".join(rf"{name}(?:: [^,)]+)?" for name in inspect.signature(HOOKS[hook]).parameters)
    text = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    assert re.search(rf"\b{hook}\({arguments}\)", text)


def test_every_documented_hook_exists() -> None:
    """docs/plugins.md promises no hook that is never called."""
    text = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\b(harness_[a-z]+)\(", text)) <= set(HOOKS)
