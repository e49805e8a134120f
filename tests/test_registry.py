"""Finding plugins: what is broken is one line, and harms nothing else."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import DatasetSpec, ModelSpec, registry
from harness.errors import Unavailable, UnknownName, UsageError
from harness.registry import Registry

ABSENT = "no_such_module_anywhere"

BUILT_IN_MODELS = {
    "uniform", "count-bigram", "nn-bigram", "ngram", "mlp", "wavenet", "rnn", "gru", "lstm", "bow",
    "transformer", "microgpt", "mixture",
}  # fmt: skip
BUILT_IN_DATASETS = {"names", "makemore-names", "tinyshakespeare", "markov"}

GOOD = """
from harness import ModelSpec, hookimpl

@hookimpl
def harness_models():
    return ModelSpec("fine", {"numpy": "nowhere:Fine"})
"""

DISCOVER = """
import json
from harness import registry

found = registry.discover()
print(json.dumps({
    "models": {name: str(spec.backends) for name, spec in found.models.items()},
    "datasets": sorted(found.datasets),
    "problems": found.problems,
    "plugins": {plugin.name: plugin._asdict() for plugin in found.plugins},
    "told": registry.tell(found, None),
}))
"""


def install(site: Path, distribution: str, module: str, source: str, point: str = "broken") -> None:
    """A distribution as pip would leave it: a module, and a dist-info that names its entry point."""
    site.mkdir(exist_ok=True)
    (site / f"{module}.py").write_text(source)
    info = site / f"{distribution.replace('-', '_')}-1.5.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.5\n")
    info.joinpath("entry_points.txt").write_text(f"[harness]\n{point} = {module}\n")


def discover_in_child(site: Path) -> dict[str, Any]:
    """What a new process finds with that folder on its path."""
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", DISCOVER],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# ---- built-in plugins


def test_built_in_models_and_datasets_are_ordinary_plugins() -> None:
    """They are found through the entry points of this distribution, without a problem."""
    found = registry.discover()
    ours = [plugin for plugin in found.plugins if plugin.distribution == "nextchar-harness"]
    assert {name for plugin in ours for name in plugin.models} >= BUILT_IN_MODELS
    assert {name for plugin in ours for name in plugin.datasets} >= BUILT_IN_DATASETS
    assert found.problems == []
    assert set(found.models) >= BUILT_IN_MODELS
    assert set(found.datasets) >= BUILT_IN_DATASETS


def test_plugin_of_names_who_brought_a_model() -> None:
    """A record can say which distribution and version its model came from."""
    plugin = registry.discover().plugin_of("mlp")
    assert plugin.distribution == "nextchar-harness"
    assert plugin.version == importlib.metadata.version("nextchar-harness")


def test_an_unknown_model_names_the_nearest() -> None:
    """`Registry.model` raises `UnknownName` with a suggestion."""
    with pytest.raises(UnknownName, match="did you mean 'mlp'"):
        registry.discover().model("mlq")


# ---- broken entry points

LISTENS = "\n@hookimpl\ndef harness_record(record): raise RuntimeError('was called')\n"

MISSPELT = "\n@hookimpl\ndef harness_recrod(record): ...\n"

BROKEN = {
    "raises": ("raise RuntimeError('out of\\n  luck')", "RuntimeError: out of luck"),
    "exits": ("import sys; sys.exit('leaving')", "SystemExit: leaving"),
    "imports-what-is-absent": (f"import {ABSENT}", f"ModuleNotFoundError: No module named {ABSENT!r}"),
    "syntax-error": ("def f(:", "SyntaxError: "),
    "hook-raises": (GOOD.replace("return ", "raise KeyError('late')  # "), "KeyError: 'late'"),
    "hook-exits": (GOOD.replace("return ", "raise SystemExit(3)  # "), "SystemExit: 3"),
    "returns-none": (
        GOOD.replace("return ", "return None  # "),
        "TypeError: harness_models returned None, not a ModelSpec or several",
    ),
    "returns-a-number": (
        GOOD.replace("return ", "return 5  # "),
        "harness_models returned 5, not a ModelSpec",
    ),
    "returns-text": (GOOD.replace("return ", "return 'junk'  # "), "harness_models returned 'j'"),
    "returns-a-dict": (GOOD.replace("return ", "return [{}]  # "), "returned {}, not a ModelSpec"),
    "takes-a-name": (GOOD.replace("fine", "uniform") + LISTENS, "model 'uniform' is already registered"),
    "bad-name": (GOOD.replace("fine", "Not Fine"), "ValueError: model name 'Not Fine'"),
    "name-is-a-number": (GOOD.replace('"fine"', "7"), "TypeError: "),
    "fails-validation": (GOOD.replace('{"numpy": "nowhere:Fine"}', "{}"), "model 'fine' has no backend"),
}


@pytest.fixture(scope="module")
def among_broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process finds that has every broken plugin installed at once, and two that work."""
    site = tmp_path_factory.mktemp("site")
    for kind, (source, _) in BROKEN.items():
        install(site, f"dist-{kind}", f"plugin_{kind.replace('-', '_')}", source, kind)
    install(site, "dist-misspelt", "plugin_misspelt", GOOD.replace("fine", "spelt") + MISSPELT, "misspelt")
    install(site, "zz-last", "zz_plugin", GOOD, "zz")
    return discover_in_child(site)


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_entry_point_is_one_line(among_broken: dict[str, Any], kind: str) -> None:
    """The line names plugin, distribution, version and exception; nothing of the plugin is used."""
    (problem,) = (line for line in among_broken["problems"] if f"plugin {kind!r} " in line)
    assert problem.startswith(f"plugin {kind!r} of dist-{kind} 1.5: ")
    assert BROKEN[kind][1] in problem
    assert "\n" not in problem
    assert among_broken["plugins"][kind]["models"] == []


def test_broken_entry_points_harm_nothing(among_broken: dict[str, Any]) -> None:
    """With every kind of broken plugin installed, all that work are there."""
    assert len(among_broken["problems"]) == len(BROKEN) + 1
    assert set(among_broken["models"]) == {*BUILT_IN_MODELS, "spelt", "fine"}
    assert set(among_broken["datasets"]) == BUILT_IN_DATASETS
    assert "harness_plugins" in among_broken["models"]["uniform"]


def test_an_unknown_hook_is_a_warning_and_the_rest_is_used(among_broken: dict[str, Any]) -> None:
    """A misspelt hook is named; the plugin's models stay."""
    expected = "plugin 'misspelt' of dist-misspelt 1.5: unknown hook harness_recrod: ignored"
    assert expected in among_broken["problems"]
    assert among_broken["plugins"]["misspelt"]["models"] == ["spelt"]


def test_a_rejected_plugin_is_told_of_no_record(among_broken: dict[str, Any]) -> None:
    """A plugin whose models were refused has no say anywhere: its harness_record is not called."""
    assert among_broken["told"] == []


def test_a_distribution_without_metadata_harms_nothing(tmp_path: Path) -> None:
    """A dist-info that lost its METADATA still leaves every other plugin usable."""
    install(tmp_path / "site", "fake-plugin", "fake_plugin", "raise RuntimeError('boom')")
    (tmp_path / "site" / "fake_plugin-1.5.dist-info" / "METADATA").unlink()
    found = discover_in_child(tmp_path / "site")
    assert len(found["problems"]) == 1
    assert set(found["models"]) == BUILT_IN_MODELS


def test_nobody_takes_a_built_in_name(tmp_path: Path) -> None:
    """A foreign module that is sorted before ours does not replace a built-in model."""
    source = GOOD.replace('"fine"', '"uniform"')
    install(tmp_path / "site", "fake-plugin", "harness_aardvark", source, "aardvark")
    found = discover_in_child(tmp_path / "site")
    assert "harness_plugins" in found["models"]["uniform"]
    assert found["plugins"]["models"]["error"] is None
    assert "'uniform' is already registered" in found["plugins"]["aardvark"]["error"]


# ---- plugin files


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a plugin file."""

    def written(source: str, name: str = "mine.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        return path

    return written


def test_harness_models_of_a_file_are_registered(write: Callable[..., Path]) -> None:
    """`--plugin FILE` brings its models beside the built-in ones, under the file's name."""
    path = write(GOOD)
    found = registry.discover([path])
    assert set(found.models) >= {*BUILT_IN_MODELS, "fine"}
    assert found.plugin_of("fine").distribution == str(path)


def test_harness_datasets_of_a_file_are_registered(write: Callable[..., Path]) -> None:
    """A file may bring datasets instead of models; one spec needs no list around it."""
    path = write(
        "from harness import DatasetSpec, hookimpl\n"
        "@hookimpl\n"
        "def harness_datasets():\n"
        "    return DatasetSpec('two', lambda: 'a\\nb\\n', alphabet='ab', licence='CC0', source='here')\n"
    )
    found = registry.discover([path], guard_files=False)
    assert isinstance(found.datasets["two"], DatasetSpec)
    assert found.plugins[-1].datasets == ("two",)


def test_a_file_with_harness_record_alone_is_a_plugin(write: Callable[..., Path]) -> None:
    """A logger brings neither models nor datasets, and is told of records."""
    path = write(
        "from harness import hookimpl\n@hookimpl\ndef harness_record(record): raise OSError('disc full')\n"
    )
    found = registry.discover([path], guard_files=False)
    assert len(registry.tell(found, None)) == 1


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def f(:", "SyntaxError: invalid syntax"),
        ("x = 1", "has no hook"),
        ("raise RuntimeError('out of\\n luck')", "RuntimeError: out of luck"),
        ("import sys; print('so far so good', file=sys.stderr); 1 / 0", "ZeroDivisionError: division"),
        ("import sys; sys.exit('leaving')", "SystemExit: leaving"),
        ("import os; os._exit(7)", "exit status 7"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "exit status -9"),
    ],
    ids=["syntax-error", "no-hooks", "raises", "talks-and-raises", "exits", "ends-the-process", "is-killed"],
)
def test_a_file_that_does_not_load_is_the_users_mistake(
    write: Callable[..., Path], source: str, said: str
) -> None:
    """One `UsageError` names the file and what is wrong with it; this process is unharmed."""
    path = write(source)
    with pytest.raises(UsageError) as caught:
        registry.discover([path])
    text = str(caught.value)
    assert text.startswith(f"--plugin {path}: ")
    assert said in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (GOOD.replace("fine", "uniform"), "model 'uniform' is already registered"),
        (GOOD + MISSPELT, "unknown hook harness_recrod"),
    ],
    ids=["taken", "misspelt"],
)
def test_a_file_that_loads_but_cannot_be_used_is_a_mistake_too(
    write: Callable[..., Path], source: str, said: str
) -> None:
    """What is a warning for an installed plugin ends a command that was given the file."""
    path = write(source)
    with pytest.raises(UsageError) as caught:
        registry.discover([path], guard_files=False)
    assert str(caught.value).startswith(f"--plugin {path}: ")
    assert said in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The error says that there is no such file."""
    with pytest.raises(UsageError, match=r"absent\.py: no file .*absent\.py"):
        registry.discover([tmp_path / "absent.py"])


def test_a_file_of_another_kind_is_refused(write: Callable[..., Path]) -> None:
    """A plugin file ends in .py."""
    with pytest.raises(UsageError, match=r"must end in \.py"):
        registry.load_file(write(GOOD, "mine.txt"))


def test_a_file_that_hangs_is_stopped(write: Callable[..., Path]) -> None:
    """`probe` ends the child after its seconds and says so."""
    path = write("import threading; threading.Event().wait()")
    with pytest.raises(UsageError, match=r"mine\.py: still loading after 0\.2 s"):
        registry.probe(path, seconds=0.2)


def test_a_probe_leaves_this_process_alone(write: Callable[..., Path]) -> None:
    """What a file does while it is probed happens in the child."""
    path = write("import sys; sys.modules['probed_here'] = sys\n" + GOOD)
    registry.probe(path)
    assert "probed_here" not in sys.modules


# ---- validation


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (ModelSpec("m", {}), ValueError),
        (ModelSpec("m", {"numpy": "x:Y"}, config={"sizes": (1, 2)}), TypeError),
        (ModelSpec("m", {"numpy": "x:Y"}, config={"size": None}), TypeError),
        (ModelSpec("m", {"numpy": "x:Y"}, config={"k": np.float64(1)}), TypeError),
        (ModelSpec("m", {"numpy": "x:Y"}, config={"k": 1}, presets={"p": {"k": "many"}}), TypeError),
        (ModelSpec("m", {"numpy": "x:Y"}, config={"k": 1}, presets={"p": {"j": 1}}), ValueError),
        (ModelSpec("m", {"numpy": "x:Y"}, config={"k": 1}, words={"j": ("auto",)}), ValueError),
        (ModelSpec("m", {"numpy": "x:Y"}, tolerance=0.0), ValueError),
        (ModelSpec("m", {"numpy": "x:Y"}, tolerance=-1e-4), ValueError),
        (ModelSpec("m", {"numpy": "x:Y"}, tolerance=1.1e-3), ValueError),
        (ModelSpec("m", {"numpy": "x:Y"}, tolerance=float("nan")), ValueError),
    ],
    ids=[
        "no-backend",
        "tuple",
        "None",
        "numpy-float",
        "preset-value",
        "preset-key",
        "word-key",
        "zero",
        "negative",
        "wide",
        "nan",
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(spec: ModelSpec, error: type[Exception]) -> None:
    """Backends, types of defaults, keys of presets and words, and the tolerance are checked."""
    with pytest.raises(error, match="model 'm'"):
        registry.validate(spec)


def test_a_spec_at_the_limits_is_accepted() -> None:
    """Every type of default, a preset and words for known keys, and the widest tolerance."""
    registry.validate(
        ModelSpec(
            "m",
            {"numpy": "x:Y"},
            config={"a": True, "b": 1, "c": 1.0, "d": "word"},
            presets={"p": {"a": False, "d": "other"}},
            words={"b": ("auto",), "d": ("word", "other")},
            tolerance=1e-3,
        )
    )


def test_one_plugin_cannot_bring_a_name_twice(write: Callable[..., Path]) -> None:
    """Two specs of one name in one plugin are refused, as they are from two plugins."""
    twice = GOOD.replace("return ", "return [").replace('Fine"})', 'Fine"})] * 2')
    with pytest.raises(UsageError, match="'fine' is already registered"):
        registry.discover([write(twice)], guard_files=False)


# ---- availability


def test_availability_is_told_without_importing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is there counts as available though it would raise when imported."""
    (tmp_path / "explosive_module.py").write_text("raise RuntimeError('was imported')")
    monkeypatch.syspath_prepend(tmp_path)
    spec = ModelSpec(
        "m",
        {"numpy": "x:Y", "here": "x:Y", "gone": "x:Y"},
        requires={"here": ("explosive_module",), "gone": ("explosive_module", ABSENT)},
    )
    assert registry.availability(spec) == {
        "numpy": None,
        "here": None,
        "gone": f"{ABSENT} is not installed: pip install {ABSENT}",
    }
    assert "explosive_module" not in sys.modules


def test_a_missing_package_of_a_dotted_requirement_is_a_reason() -> None:
    """`requires=("absent.part",)` makes the backend unavailable; it raises nothing."""
    spec = ModelSpec("m", {"numpy": "x:Y"}, requires=(f"{ABSENT}.part",))
    assert ABSENT in (registry.missing(spec, "numpy") or "")


def test_default_backend_falls_back_where_a_module_is_missing() -> None:
    """The first backend that can run here; where none can, the first."""
    backends = {"fast": "x:Y", "numpy": "x:Y", "slow": "x:Y"}
    assert registry.default_backend(ModelSpec("m", backends), None) == "fast"
    some = ModelSpec("m", backends, requires={"fast": (ABSENT,)})
    assert registry.default_backend(some, None) == "numpy"
    none = ModelSpec("m", backends, requires=(ABSENT,))
    assert registry.default_backend(none, None) == "fast"


def test_a_device_that_is_not_there_is_no_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--device cuda` only sets the default: without a device another backend is taken."""
    monkeypatch.setattr(registry, "no_cuda", lambda: "no CUDA device")
    spec = ModelSpec("m", {"numpy": "x:Y", "cuda": "x:Y"})
    assert registry.default_backend(spec, "cuda") == "numpy"


def test_default_backend_follows_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with CUDA, `cuda` is the default where it was asked for and never where `cpu` was."""
    monkeypatch.setattr(registry, "no_cuda", lambda: None)
    first = ModelSpec("m", {"cuda": "x:Y", "numpy": "x:Y"})
    last = ModelSpec("m", {"numpy": "x:Y", "cuda": "x:Y"})
    without = ModelSpec("m", {"numpy": "x:Y"})
    assert [registry.default_backend(spec, "cuda") for spec in (first, last, without)] == [
        "cuda",
        "cuda",
        "numpy",
    ]
    assert [registry.default_backend(spec, "cpu") for spec in (first, last, without)] == ["numpy"] * 3
    assert [registry.default_backend(spec, None) for spec in (first, last)] == ["cuda", "numpy"]


def test_cuda_is_missing_where_the_driver_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend `cuda` needs a device beside its modules; other backends do not ask for one."""
    monkeypatch.setattr(registry, "no_cuda", lambda: "no CUDA device: none")
    spec = ModelSpec("m", {"numpy": "x:Y", "cuda": "x:Y"})
    assert registry.availability(spec) == {"numpy": None, "cuda": "no CUDA device: none"}


# ---- classes


def test_resolve_imports_the_class_of_a_backend() -> None:
    """`"pkg.module:Class"` becomes that class."""
    from harness_plugins.uniform import Uniform

    assert registry.resolve(registry.discover().model("uniform"), "numpy") is Uniform


def test_resolve_refuses_what_this_machine_lacks() -> None:
    """`Unavailable` with the reason, and nothing is imported."""
    spec = ModelSpec("m", {"numpy": "nowhere:Nothing"}, requires=(ABSENT,))
    with pytest.raises(Unavailable, match=ABSENT):
        registry.resolve(spec, "numpy")


def test_resolve_asks_the_class_whether_it_can_run() -> None:
    """What `unavailable` answers is the reason."""
    from harness_plugins.uniform import Uniform

    class Elsewhere(Uniform):
        @classmethod
        def unavailable(cls) -> str | None:
            return "needs another planet"

    with pytest.raises(Unavailable, match="needs another planet"):
        registry.resolve(ModelSpec("m", {"numpy": Elsewhere}), "numpy")


@pytest.mark.parametrize("target", ["json:JSONDecoder", "json:dumps"])
def test_resolve_refuses_what_is_no_model(target: str) -> None:
    """A backend that names something else is a `TypeError` that names model and backend."""
    with pytest.raises(TypeError, match=r"m@numpy is .*, not a harness\.Model"):
        registry.resolve(ModelSpec("m", {"numpy": target}), "numpy")


MODEL = """
import numpy as np
from harness import Model, ModelSpec, hookimpl

class Own(Model):
    def fit(self, train, dev, trial): ...
    def log_probs(self, inputs):
        return np.full((*inputs.shape, self.vocab_size), -np.log(self.vocab_size))

@hookimpl
def harness_models():
    return ModelSpec("NAME", {"numpy": Own})
"""


def hash_of(path: Path) -> str:
    """The code hash of the model `own` in a plugin file."""
    found = registry.discover([path], guard_files=False)
    return registry.code_hash(registry.resolve(found.model("own"), "numpy"))


def test_code_hash_changes_with_the_file(write: Callable[..., Path]) -> None:
    """Two files that differ by a comment differ in their hash; the same bytes have the same anywhere."""
    source = MODEL.replace("NAME", "own")
    here, there = write(source, "here/mine.py"), write(source, "there/mine.py")
    changed = write(source + "# changed\n", "changed/mine.py")
    assert hash_of(here) == hash_of(there) != hash_of(changed)


def test_code_hash_counts_what_a_model_leans_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a package another module's change counts too, and the model is not imported for it."""
    package = tmp_path / "package_of_models"
    package.joinpath("deep").mkdir(parents=True)
    for name in ("__init__.py", "common.py", "deep/__init__.py", "deep/own.py"):
        package.joinpath(name).write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = registry.code_hash("package_of_models.deep.own:Own")
    assert "package_of_models.deep.own" not in sys.modules
    package.joinpath("notes.txt").write_text("no code")
    assert registry.code_hash("package_of_models.deep.own:Own") == before
    package.joinpath("common.py").write_text("x = 2\n")
    assert registry.code_hash("package_of_models.deep.own:Own") != before


def test_code_hash_of_a_class_is_that_of_its_name() -> None:
    """`"pkg.module:Class"` and the class it names have one hash."""
    target = registry.discover().model("uniform").backends["numpy"]
    assert isinstance(target, str)
    assert registry.code_hash(target) == registry.code_hash(
        registry.resolve(ModelSpec("m", {"numpy": target}), "numpy")
    )


def test_two_files_of_one_name_are_kept_apart(write: Callable[..., Path]) -> None:
    """`a/mine.py` and `b/mine.py` are two modules: each model has the hash of its own file."""
    paths = [write(MODEL.replace("NAME", name), f"{name}/mine.py") for name in ("a", "b")]
    found = registry.discover(paths, guard_files=False)
    one, other = (registry.resolve(found.model(name), "numpy") for name in ("a", "b"))
    assert one.__module__ != other.__module__
    assert registry.code_hash(one) != registry.code_hash(other)


# ---- harness_record


def seen(found: Registry, file: str) -> list[object]:
    """The list `seen` of the plugin file of that name."""
    (module,) = (m for m in found.manager.get_plugins() if Path(getattr(m, "__file__", "")).name == file)
    listed: list[object] = module.seen
    return listed


def test_harness_record_hooks_are_told_of_a_record(write: Callable[..., Path]) -> None:
    """Every plugin with the hook gets the record itself, also one that takes no argument."""
    takes = "\nseen = []\n@hookimpl\ndef harness_record(record): seen.append(record)\n"
    bare = "\nseen = []\n@hookimpl\ndef harness_record(): seen.append('called')\n"
    paths = [
        write(GOOD.replace("fine", name) + hook, f"{name}.py")
        for name, hook in (("takes", takes), ("bare", bare))
    ]
    found = registry.discover(paths, guard_files=False)
    record = object()
    assert registry.tell(found, record) == []
    assert {name: seen(found, f"{name}.py") for name in ("takes", "bare")} == {
        "takes": [record],
        "bare": ["called"],
    }


def test_a_harness_record_hook_that_raises_is_a_warning(write: Callable[..., Path]) -> None:
    """One line for each that raised or exited, and the others are called all the same."""
    hooks = {
        "first": "raise OSError('disc\\n full')",
        "second": "seen.append(record)",
        "third": "raise SystemExit('enough')",
    }
    paths = [
        write(
            GOOD.replace("fine", name) + f"\nseen = []\n@hookimpl\ndef harness_record(record): {body}\n",
            f"{name}.py",
        )
        for name, body in hooks.items()
    ]
    found = registry.discover(paths, guard_files=False)
    problems = registry.tell(found, "record")
    assert len(problems) == 2
    assert any("first" in line and line.endswith("OSError: disc full") for line in problems)
    assert any("third" in line and line.endswith("SystemExit: enough") for line in problems)
    assert seen(found, "second.py") == ["record"]
