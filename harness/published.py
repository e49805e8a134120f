"""What was published: suites, TOML files that name cells with a figure, its source and a tolerance.

    description = "makemore parts 1 to 5"
    dataset = "makemore-names"          # whatever all cells share may stand at the top

    [[cell]]
    name = "3 batch norm"
    model = "mlp:preset=lecture-3"      # one model in the grammar of --models
    split = "lecture"
    published = { train_nll = 2.0674, dev_nll = 2.1057 }
    tolerance = 0.02
    source = "karpathy/nn-zero-to-hero, makemore_part3_bn.ipynb"
    short = "2000steps"

docs/suites.md says what each key means.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from harness import settings
from harness.errors import UnknownName, UsageError

FOLDER = Path(__file__).parent / "suites"

METRICS = ("train_nll", "dev_nll", "test_nll", "dev_nll_unseen", "test_nll_unseen")
Text = Annotated[str, Meta(min_length=1)]


class Recipe(msgspec.Struct, frozen=True, kw_only=True, rename={"kind": "as"}):
    """One cell of a suite: what is run, and what was published of it in nats per character."""

    name: Text
    model: Text
    dataset: Text
    kind: Literal["lines", "text"] | None = None  # `as`, for file:PATH
    split: str | None = None  # None: the dataset's own
    seeds: Annotated[int, Meta(ge=1, le=1000)] = 1
    budget: str | None = None  # the published one; None: the model's own
    cpu: str | None = None  # a smaller budget, wherever the model does not run on a GPU
    short: bool | str = True  # in the short form: as it is, left out, or under this budget
    published: Annotated[dict[str, float], Meta(min_length=1)]
    tolerance: Annotated[float, Meta(ge=0)]  # nats; what rounding, seeds and arithmetic may do
    penalty: float | None = None  # times the parameters' mean square, where the published loss adds that
    source: Text
    why: str | None = None  # the figures cannot be compared, and this is the reason
    note: str | None = None  # what a reader should know beside

    def budget_on(self, backend: str, *, short: bool) -> str | None:
        """The budget under which it is run; None is the model's own."""
        if short and isinstance(self.short, str):
            return self.short
        return self.cpu if self.cpu and backend != "cuda" else self.budget


class Suite(msgspec.Struct, frozen=True):
    """A suite as its file has it."""

    name: str
    path: Path
    description: str
    recipes: tuple[Recipe, ...]

    def chosen(self, *, short: bool) -> list[Recipe]:
        """Its cells, or those of its short form."""
        return [recipe for recipe in self.recipes if not short or recipe.short is not False]


def names() -> list[str]:
    """The built-in suites."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find(name: str) -> Suite:
    """A built-in suite by its name, or one's own by the path of its TOML file."""
    if name in names():
        return read(FOLDER / f"{name}.toml")
    if name.endswith(".toml") or os.sep in name:
        return read(Path(name))
    raise UnknownName("suite", name, [*names(), "FILE.toml"])


def read(path: Path) -> Suite:
    """A suite's file, checked but for the names of models and data; a mistake is a `UsageError`."""
    table = settings.read(path)
    cells, description = table.pop("cell", None), table.pop("description", "")
    if not isinstance(cells, list) or not cells:
        raise UsageError(f"{path}: no [[cell]]: a suite names at least one")
    if not isinstance(description, str):
        raise UsageError(f"{path}: description must be a string")
    check_keys(table, f" in {path}")
    recipes: dict[str, Recipe] = {}
    for number, cell in enumerate(cells, start=1):
        where = f"{path}, cell {cell.get('name', number)!r}"
        check_keys(cell, f" in {where}")
        try:
            recipe = msgspec.convert(table | cell, type=Recipe)
        except msgspec.ValidationError as error:
            raise UsageError(
                f"{where}: {str(error).replace(' - at `$.', ': `').replace('`$`', '')}"
            ) from None
        for metric, figure in recipe.published.items():
            if metric not in METRICS:
                raise UnknownName("metric", metric, METRICS, where=f" in {where}")
            if not math.isfinite(figure):
                raise UsageError(f"{where}: published {metric} = {figure} is no figure")
        if recipe.name in recipes:
            raise UsageError(f"{where}: another cell has this name")
        recipes[recipe.name] = located(recipe, path.parent)
    return Suite(path.stem, path, description, tuple(recipes.values()))


def check_keys(table: dict[str, object], where: str) -> None:
    """Raise `UnknownName` for a key that a cell does not have."""
    known = Recipe.__struct_encode_fields__
    for key in table:
        if key not in known:
            raise UnknownName("key", key, known, where=where)


def located(recipe: Recipe, folder: Path) -> Recipe:
    """The same with `file:PATH` seen from the working directory: in the file, it starts from its folder."""
    head, colon, path = recipe.dataset.partition(":")
    if head != "file" or not colon or os.path.isabs(path):
        return recipe
    return msgspec.structs.replace(recipe, dataset=f"file:{folder / path}")
