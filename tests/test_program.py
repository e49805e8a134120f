"""`NAME@exec:program=…`: how it is spelt, what is started, what is hashed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import ModelSpec, program, registry, tune
from harness.errors import UsageError
from harness.plan import plan
from harness.registry import Registry
from harness.selection import Choice, choose, items

PLAIN = ModelSpec("plain", {"numpy": "nowhere:Plain"})
KNOWN = Registry(models={"plain": PLAIN})


def chosen(*selections: str) -> list[Choice]:
    """What the selections choose where one model is registered."""
    return choose(KNOWN, selections)


def script(name: str, mode: int = 0o755) -> Path:
    """A file in the working directory."""
    path = Path(name)
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


# ---- spelling


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", True),
        ("False", False),
        ("3", 3),
        ("-3", -3),
        ("0.5", 0.5),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("gru", "gru"),
        ("1_000", "1_000"),
        ("nan", "nan"),
        ("", ""),
        ('"3"', "3"),
        ('"a/b"', "a/b"),
        ('"true"', "true"),
    ],
)
def test_an_option_is_typed_as_it_is_spelt(text: str, expected: object) -> None:
    """Switches, whole numbers, numbers, and texts for all else; double quotes make a text."""
    (choice,) = chosen(f"x@exec:program=./x,key={text}")
    assert choice.config == {"program": "./x", "key": expected}
    assert type(choice.config["key"]) is type(expected)


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        ("x@exec:program=./a/b", ["./a/b"]),
        ("x@exec:program=node model.js", ["node", "model.js"]),
        ('x@exec:program="node model.js"', ["node", "model.js"]),
        ('x@exec:program="./x --size 1,2 (a/b)"', ["./x", "--size", "1,2", "(a/b)"]),
        ("x@exec:program=\"./x 'my model'\"", ["./x", "my model"]),
        ("x@exec,program=./x", ["./x"]),
        ("x@exec:program=3", ["3"]),
    ],
)
def test_a_program_may_have_arguments(selection: str, words: list[str]) -> None:
    """Words as a shell splits them; a slash in it is no grid; double quotes protect commas and brackets."""
    (choice, other) = chosen(f"{selection},plain")
    assert program.words(choice.config["program"]) == words
    assert other.spec is PLAIN


def test_a_grid_of_a_program() -> None:
    """`k=0/1` is two rows, and the program in each."""
    labels = [choice.label for choice in chosen("x@exec:program=./a/x,k=0/1,kind=a/b")]
    assert labels == [f"x@exec:program=./a/x,k={k},kind={kind}" for k in "01" for kind in "ab"]


def test_context_and_steps_are_promises() -> None:
    """`context=N` is the promised context and `steps=N` the default budget; without them there is none."""
    (one, other) = chosen("x@exec:program=./x,context=3,steps=20", "y@exec:program=./x")
    assert (one.spec.context_of(one.config), one.spec.steps_of(one.config)) == (3, 20)
    assert (other.spec.context_of(other.config), other.spec.steps_of(other.config)) == (None, None)
    assert program.options(one.config) == {"context": 3, "steps": 20}


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        ("x@exec", "x@exec needs its program: x@exec:program=./x"),
        ("x@exec:k=1", "x@exec needs its program"),
        ("x@exec:program=", "x@exec needs its program"),
        ('x@exec:program=" "', "names no program"),
        ("x@exec:program=./x 'a", "No closing quotation"),
        ('x@exec:program="./x', "double quotes do not match"),
        ("x@exec:program=./x,program=./y", "program is given twice"),
        ("x@exec:program=./x,k=0,k=1", "k is given twice"),
        ("x@exec:program=./x,a b=1", "'a b' is no name of an option"),
        ("x@exec:program=./x,context=-1", "context=-1 must be a whole number from 0 on"),
        ("x@exec:program=./x,context=far", "context=far must be a whole number"),
        ("x@exec:program=./x,context=true", "context=true must be a whole number"),
        ("x@exec:program=./x,steps=0", "steps=0 must be a whole number from 1 on"),
        ("x@exec:program=./x,k=1e999", "k=1e999 is too large"),
        ("all@exec:program=./x", "give the program a name of its own"),
        ("*@exec:program=./x", "give the program a name of its own"),
        ("X Y@exec:program=./x", "give the program a name of its own"),
        ("x:program=./x", "an external program is written x@exec:program=./x"),
    ],
)
def test_a_mistake_is_one_line(selection: str, said: str) -> None:
    """What cannot be meant is told before anything is started."""
    with pytest.raises(UsageError) as caught:
        chosen(selection)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_quotes_protect_items() -> None:
    """A comma between double quotes cuts neither items nor options."""
    assert items(['x@exec:program="./x a,b=c",k=1,plain']) == ['x@exec:program="./x a,b=c",k=1', "plain"]


TEXTS = st.text("aT01e .,/()=:@-'", max_size=8)
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS
)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["./x", "node a/b.js", "./x 1,2", "./x (", "./x 'a b'"]), st.lists(VALUES, max_size=3))
def test_a_label_selects_exactly_its_program(text: str, values: list[Any]) -> None:
    """A label, beside another model, chooses the same program with the same options of the same types."""
    config = {"program": text} | {f"key{i}": value for i, value in enumerate(values)}
    choice = Choice(program.spec("x", config), program.BACKEND, config)
    again, plain = choose(KNOWN, [f"{choice.label},plain"])
    assert again.config == config
    assert list(map(type, again.config.values())) == list(map(type, config.values()))
    assert plain.spec is PLAIN


def test_no_plugin_may_call_a_backend_exec() -> None:
    """The name belongs to programs."""
    with pytest.raises(ValueError, match="the backend 'exec' is for external programs"):
        registry.validate(ModelSpec("greedy", {"exec": "nowhere:Greedy"}))


def test_tune_says_what_to_do_instead() -> None:
    """A program's options are its own: a grid is the way."""
    pytest.importorskip("optuna")
    script("x")
    model = "x@exec:program=./x,k=1"
    made = plan(model, data="markov:documents=60")
    with pytest.raises(UsageError, match="try a grid in run"):
        tune.prepare(made, model, "k=0.1..10", trials=2)


# ---- what is started


def test_what_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path from here, and a name on PATH."""
    path = script("x")
    monkeypatch.setenv("PATH", "/nowhere")
    assert program.missing("./x --size 3") is None
    assert program.command("./x --size 3") == (str(path.absolute()), ["./x", "--size", "3"])
    monkeypatch.setenv("PATH", str(Path.cwd()))
    assert program.missing("x") is None
    assert program.command("x")[0] == str(path.absolute())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("./absent", "./absent: there is no such program here: build it, or mend its path"),
        ("./plain.py --x", "./plain.py is not executable: chmod +x ./plain.py, or name its interpreter"),
        ("./folder", "./folder is a folder"),
        ("plain.py", "plain.py is not on PATH: write program=./plain.py"),
        ("no-such-command", "no-such-command is not on PATH: install it, or write its path"),
    ],
)
def test_what_cannot_be_started_names_the_way_out(text: str, said: str) -> None:
    """The reason of a skipped row."""
    script("plain.py", 0o644)
    Path("folder").mkdir()
    (choice,) = chosen(f"x@exec:program={text}")
    assert (choice.missing or "").startswith(said)


# ---- what is hashed


def test_the_hash_is_that_of_the_file() -> None:
    """`sha256sum ./x` shows it; another file is another program."""
    path = script("x")
    (choice,) = chosen("x@exec:program=./x,k=1")
    assert choice.code_hash == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_text("#!/bin/sh\nexit 1\n")
    assert choice.code_hash == hashlib.sha256(path.read_bytes()).hexdigest()


def test_arguments_that_are_files_are_hashed_too() -> None:
    """An interpreter's script counts; a word that is no file does not."""
    script("x")
    Path("model.js").write_text("one")
    before = program.code_hash("./x model.js")
    assert before == program.code_hash("./x model.js --fast")
    assert before != program.code_hash("./x")
    Path("model.js").write_text("another")
    os.utime("model.js", ns=(1, 1))
    assert program.code_hash("./x model.js") != before


def test_a_program_that_is_not_there_has_a_hash() -> None:
    """So that its skipped row can be written, and found again."""
    assert program.code_hash("./absent") == program.code_hash("./absent") != program.code_hash("./other")
