"""The words of `--models` (CONTRACT, "Selecting")."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import ModelSpec
from harness.errors import UnknownName, UsageError
from harness.registry import Registry
from harness.selection import Choice, choose, cut, items, read_options, render

ABSENT = "no_such_module_anywhere"

PLAIN = ModelSpec("plain", {"numpy": "nowhere:Plain"})
COUNT = ModelSpec("count", {"numpy": "nowhere:Count"}, config={"k": 1.0})
NET = ModelSpec(
    "net",
    {"numpy": "nowhere:Net", "torch": "nowhere:Net", "jit": "nowhere:Net"},
    config={"context": 5, "hidden": 100, "rate": 0.1, "bias": True, "init": "scaled", "order": 2},
    presets={
        "lecture": {"context": 3, "hidden": 200},
        "small": {"hidden": 7, "bias": False, "init": "normal"},
    },
    words={"init": ("scaled", "normal"), "order": ("auto",)},
)
LATE = ModelSpec(
    "late",
    {"torch": "nowhere:Late", "numpy": "nowhere:Late"},
    requires={"torch": (ABSENT,)},
)
NOWHERE = ModelSpec("nowhere", {"torch": "nowhere:X", "jit": "nowhere:X"}, requires=(ABSENT,))
MIXTURE = ModelSpec("mixture", {"numpy": "nowhere:Mixture"}, config={"of": "count+plain", "weights": 0.5})

ALL = {spec.name: spec for spec in (PLAIN, COUNT, NET, LATE, NOWHERE, MIXTURE)}


def labels(*selections: str, device: str | None = None) -> list[str]:
    """The labels of what the selections choose."""
    return [choice.label for choice in choose(Registry(models=ALL), selections, device)]


def config(selection: str) -> Mapping[str, Any]:
    """The configuration of the one model that a selection chooses."""
    (choice,) = choose(Registry(models=ALL), [selection])
    return choice.config


# ---- items


@pytest.mark.parametrize(
    ("selections", "expected"),
    [
        (["a"], ["a"]),
        (["a,b"], ["a", "b"]),
        (["a", "b"], ["a", "b"]),
        (["a:x=1"], ["a:x=1"]),
        (["a:x=1,y=2"], ["a:x=1,y=2"]),
        (["a,x=1"], ["a:x=1"]),
        (["a,x=1,y=2,b"], ["a:x=1,y=2", "b"]),
        (["a@n:x=1,y=2,b@m:z=3,w=4"], ["a@n:x=1,y=2", "b@m:z=3,w=4"]),
        (["a:x=1,b:y=2"], ["a:x=1", "b:y=2"]),
        (["a,x=u:v=w"], ["a:x=u:v=w"]),
        ([" a , x=1 , b "], ["a:x=1", "b"]),
        (["a,,b,"], ["a", "b"]),
        (["a:of=b(x=1,y=2),c"], ["a:of=b(x=1,y=2)", "c"]),
        (["a,of=b(c,d(e,f)),g"], ["a:of=b(c,d(e,f))", "g"]),
    ],
)
def test_items_are_cut_at_commas_and_continued_by_equals(selections: list[str], expected: list[str]) -> None:
    """An item with `=` and without `:` before it continues the one before; others start a new one."""
    assert items(selections) == expected


def test_configuration_needs_a_model_before_it() -> None:
    """A selection that begins with KEY=VALUE is refused, and told how to write it."""
    with pytest.raises(UsageError, match="write MODEL:hidden=3"):
        items(["hidden=3"])


def test_a_repeated_option_starts_anew() -> None:
    """KEY=VALUE at the start of a second --models does not continue the model of the first."""
    with pytest.raises(UsageError, match="configures no model"):
        items(["net", "hidden=3"])


def test_brackets_protect_separators() -> None:
    """`cut` splits at a separator outside of every bracket only."""
    assert cut("a/b(c/d)/e((/)/)", "/") == ["a", "b(c/d)", "e((/)/)"]


@pytest.mark.parametrize("text", ["a(b", "a)b", "a(b))", ")a,b("])
def test_brackets_must_match(text: str) -> None:
    """A bracket that is not closed, or closed before it is opened, is refused."""
    with pytest.raises(UsageError, match="brackets"):
        cut(text, ",")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text("ab=:+;@ "), min_size=1), st.sampled_from(",/"))
def test_cut_undoes_join(pieces: list[str], separator: str) -> None:
    """Pieces that hold neither brackets nor the separator come back as they were joined."""
    assert cut(separator.join(pieces), separator) == pieces


# ---- names and backends


def test_all_is_every_model_once_on_its_first_available_backend() -> None:
    """`all` skips a backend whose module is missing, and keeps a model that has no other."""
    assert labels("all") == [
        "plain@numpy",
        "count@numpy",
        "net@numpy",
        "late@numpy",
        "nowhere@torch",
        "mixture@numpy",
    ]


def test_star_at_star_is_every_backend_of_every_model() -> None:
    """`*@*` is the product of all models with their own backends, available or not."""
    expected = [f"{name}@{backend}" for name, spec in ALL.items() for backend in spec.backends]
    assert labels("*@*") == labels("all@*") == expected


def test_name_at_star_is_every_backend_of_one_model() -> None:
    """`net@*` is one row for each of net's backends, in their order."""
    assert labels("net@*") == ["net@numpy", "net@torch", "net@jit"]


def test_star_at_backend_is_every_model_that_has_it() -> None:
    """`*@torch` leaves out the models without a backend of that name."""
    assert labels("*@torch") == ["net@torch", "late@torch", "nowhere@torch"]


def test_a_named_backend_is_taken_even_where_it_is_missing() -> None:
    """`late@torch` is chosen though its module is absent: the row will say that it is skipped."""
    assert labels("late@torch") == ["late@torch"]


def test_models_stand_in_the_order_of_the_selection_each_once() -> None:
    """The same choice made twice, in other words too, is one row at its first place."""
    assert labels("net,count:k=1,plain", "count,net:hidden=100,net:hidden=3") == [
        "net@numpy",
        "count@numpy",
        "plain@numpy",
        "net@numpy:hidden=3",
    ]


@pytest.mark.parametrize("selections", [[], [""], [",", " "]])
def test_no_model_is_refused(selections: list[str]) -> None:
    """A selection that names nothing is a mistake, not an empty table."""
    with pytest.raises(UsageError, match="names no model"):
        labels(*selections)


# ---- configuration


def test_defaults_are_complete() -> None:
    """A model without options has every key of its spec."""
    assert config("net") == NET.config


def test_a_grid_is_the_product_of_its_axes() -> None:
    """`a/b` on several keys gives every combination, the last key fastest."""
    chosen = choose(Registry(models=ALL), ["net:context=1/2/3,rate=0.1/1,hidden=4/5"])
    expected = list(itertools.product((1, 2, 3), (0.1, 1.0), (4, 5)))
    assert [(c.config["context"], c.config["rate"], c.config["hidden"]) for c in chosen] == expected


def test_a_grid_over_backends_is_a_product_too() -> None:
    """Backends and grid multiply."""
    assert labels("net@*:hidden=1/2") == [
        f"net@{backend}:hidden={hidden}" for backend in NET.backends for hidden in (1, 2)
    ]


def test_a_grid_leaves_the_next_model_alone() -> None:
    """The values after `/` belong to the key before them, and `,name` ends them."""
    assert labels("count:k=0/0.5,plain") == ["count@numpy:k=0", "count@numpy:k=0.5", "plain@numpy"]


@pytest.mark.parametrize("selection", ["net:preset=lecture,hidden=9", "net:hidden=9,preset=lecture"])
def test_a_preset_is_applied_before_other_keys(selection: str) -> None:
    """A key that is given wins over the preset wherever it stands; the preset wins over defaults."""
    assert config(selection) == {**NET.config, "context": 3, "hidden": 9}


def test_presets_only_when_named() -> None:
    """`all` contains no preset, and a grid over presets names each."""
    assert not any("preset" in label for label in labels("all"))
    assert labels("net:preset=lecture/small") == ["net@numpy:preset=lecture", "net@numpy:preset=small"]


def test_a_default_that_undoes_a_preset_is_given() -> None:
    """Back from the preset's value to the default's is a difference, and stands in the label."""
    assert labels("net:preset=lecture,hidden=100") == ["net@numpy:preset=lecture,hidden=100"]


def test_a_model_may_have_an_option_called_preset() -> None:
    """Where `preset` is a key of the configuration it is read as that."""
    spec = ModelSpec("odd", {"numpy": "nowhere:Odd"}, config={"preset": 1})
    (choice,) = choose(Registry(models={"odd": spec}), ["odd:preset=3"])
    assert choice.config == {"preset": 3}
    assert choice.preset is None


def test_brackets_protect_a_value() -> None:
    """Commas, slashes and `=` inside brackets are the value's own."""
    assert config("mixture:of=net(context=1,hidden=2/3)+count(k=1;k=2),weights=0.25") == {
        "of": "net(context=1,hidden=2/3)+count(k=1;k=2)",
        "weights": 0.25,
    }


def test_a_value_may_hold_a_colon() -> None:
    """Only the first `:` ends the name, so a value may name a model with options of its own."""
    assert config("mixture:of=net:hidden=3") == {"of": "net:hidden=3", "weights": 0.5}


# ---- values


@pytest.mark.parametrize(
    ("default", "text", "value"),
    [
        (5, "8", 8),
        (5, "-8", -8),
        (5, "+8", 8),
        (5, "1e3", 1000),
        (5, "8.0", 8),
        (5, str(2**60 + 1), 2**60 + 1),
        (1.0, "1", 1.0),
        (1.0, "1e-3", 0.001),
        (1.0, "-.5", -0.5),
        (True, "false", False),
        (True, "No", False),
        (True, "0", False),
        (False, "TRUE", True),
        (False, "yes", True),
        (False, "1", True),
        ("free", "any thing", "any thing"),
        ("free", "3", "3"),
    ],
)
def test_a_value_takes_the_type_of_its_default(default: object, text: str, value: object) -> None:
    """A text becomes a bool, an int, a float or a str as the default is one."""
    read = read_options("m", {"key": text}, {"key": default}, {})["key"]
    assert (read, type(read)) == (value, type(default))


@pytest.mark.parametrize(
    ("default", "text"),
    [
        (5, "8.5"),
        (5, "eight"),
        (5, ""),
        (5, "nan"),
        (5, "inf"),
        (5, "true"),
        (1.0, "one"),
        (1.0, ""),
        (1.0, "nan"),
        (1.0, "-inf"),
        (1.0, "1e999"),
        (True, "2"),
        (True, ""),
        (True, "maybe"),
    ],
)
def test_a_value_of_another_type_is_refused(default: object, text: str) -> None:
    """The error names model, key, text and type."""
    with pytest.raises(UsageError) as caught:
        read_options("m", {"key": text}, {"key": default}, {})
    assert f"m: key={text!r} is no {type(default).__name__}" in str(caught.value)


def test_a_word_is_legal_where_the_spec_names_it() -> None:
    """`order=auto` stays a word though the default is a number; a number is still read as one."""
    assert config("net:order=auto")["order"] == "auto"
    assert config("net:order=3")["order"] == 3


def test_a_word_is_legal_nowhere_else() -> None:
    """The word of one key is not legal for another."""
    with pytest.raises(UsageError, match="hidden='auto' is no int"):
        labels("net:hidden=auto")


def test_an_unknown_word_of_a_number_names_the_legal_ones() -> None:
    """Beside its type the error lists the words."""
    with pytest.raises(UsageError, match="order='atuo' is no int or one of auto"):
        labels("net:order=atuo")


# ---- nearest names


@pytest.mark.parametrize(
    ("selection", "kind", "near"),
    [
        ("cuont", "model", "count"),
        ("net@toch", "backend", "torch"),
        ("*@toch", "backend", "torch"),
        ("net:hiden=3", "option", "hidden"),
        ("net,hiden=3", "option", "hidden"),
        ("net:preset=lectur", "preset", "lecture"),
        ("net:init=nromal", "value", "normal"),
    ],
)
def test_the_nearest_name_is_suggested(selection: str, kind: str, near: str) -> None:
    """An unknown model, backend, option, preset or word names the one that was probably meant."""
    with pytest.raises(UnknownName) as caught:
        labels(selection)
    assert f"unknown {kind}" in str(caught.value)
    assert f"did you mean {near!r}?" in str(caught.value)


def test_where_nothing_is_near_the_known_names_are_listed() -> None:
    """A name far from all others is answered with what there is."""
    with pytest.raises(UnknownName, match="unknown backend 'zzzz' of net; known: jit, numpy, torch"):
        labels("net@zzzz")


def test_a_model_without_options_says_so() -> None:
    """An option of a model that has none."""
    with pytest.raises(UnknownName, match="unknown option 'k' of plain; there are none"):
        labels("plain:k=1")


def test_an_option_without_a_value_is_refused() -> None:
    """`net:hidden` is not KEY=VALUE."""
    with pytest.raises(UsageError, match="'hidden' is not KEY=VALUE"):
        labels("net:hidden")


# ---- labels


@settings(max_examples=50, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_rendered_float_reads_back_exactly(value: float) -> None:
    """No digit is lost on the way through a label."""
    assert float(render(value)) == value


FREE = st.text("abz019 _.+;:=@-").map(str.strip)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "context": st.integers(),
    "hidden": st.integers(0, 10**20),
    "rate": st.floats(allow_nan=False, allow_infinity=False),
    "bias": st.booleans(),
    "init": st.sampled_from(NET.words["init"]),
    "order": st.integers(-3, 3) | st.just("auto"),
    "of": FREE | st.lists(FREE, min_size=1).map(lambda parts: f"a({','.join(parts)}/b)"),
    "weights": st.floats(0, 1),
    "k": st.floats(0, 10),
}


@st.composite
def choices(draw: st.DrawFn) -> Choice:
    """Any choice that a user can make."""
    spec = draw(st.sampled_from(list(ALL.values())))
    backend = draw(st.sampled_from(list(spec.backends)))
    preset = draw(st.none() | st.sampled_from(list(spec.presets))) if spec.presets else None
    changed = draw(st.sets(st.sampled_from(list(spec.config)))) if spec.config else set()
    config = dict(spec.config) | dict(spec.presets.get(preset or "", {}))
    config |= {key: draw(VALUES[key]) for key in sorted(changed)}
    return Choice(spec, backend, config, preset)


@settings(max_examples=50, deadline=None)
@given(choices(), choices())
def test_a_label_selects_exactly_its_choice(one: Choice, other: Choice) -> None:
    """The labels of two choices, joined by a comma, choose the two again and nothing else."""
    expected = [one] if (one.label, one.spec.name) == (other.label, other.spec.name) else [one, other]
    assert choose(Registry(models=ALL), [f"{one.label},{other.label}"]) == expected
    assert choose(Registry(models=ALL), [one.label, other.label]) == expected


@settings(max_examples=50, deadline=None)
@given(choices())
def test_given_is_what_differs(choice: Choice) -> None:
    """Defaults, the preset and what is given make the configuration, and nothing is given twice."""
    rest = {key: value for key, value in choice.given.items() if key != "preset"}
    base = {**choice.spec.config, **choice.spec.presets.get(choice.preset or "", {})}
    assert {**base, **rest} == choice.config
    assert all(base[key] != value for key, value in rest.items())
