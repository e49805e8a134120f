"""Entry points and plugin files -> specs: guards, validation, availability.

One broken plugin is one line in `Registry.problems`, and the others are used all the same.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pluggy

from harness import hookspecs, program
from harness.contract import DatasetSpec, ExporterSpec, Model, ModelSpec
from harness.errors import Unavailable, UnknownName, UsageError

GROUP = "harness"
OURS = "nextchar-harness"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
LOAD_SECONDS = 10.0


class Plugin(NamedTuple):
    """One entry point or one file, as `harness list plugins` shows it."""

    name: str
    distribution: str
    version: str
    models: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    error: str | None = None
    exporters: tuple[str, ...] = ()


@dataclass
class Registry:
    """The specs that were found, by name, who brought them, and what was wrong."""

    models: dict[str, ModelSpec] = field(default_factory=dict)
    datasets: dict[str, DatasetSpec] = field(default_factory=dict)
    exporters: dict[str, ExporterSpec] = field(default_factory=dict)
    plugins: list[Plugin] = field(default_factory=list)
    manager: pluggy.PluginManager = field(default_factory=lambda: pluggy.PluginManager("harness"), repr=False)

    @property
    def problems(self) -> list[str]:
        """One line a broken plugin."""
        return [
            f"plugin {p.name!r} of {p.distribution} {p.version}: {p.error}".replace("  ", " ")
            for p in self.plugins
            if p.error
        ]

    def model(self, name: str, backend: str | None = None) -> ModelSpec:
        """The model of that name, or `UnknownName` with the nearest one.

        backend: of a model that was chosen. What runs an external program nobody has registered.
        """
        if backend == program.BACKEND:
            return program.spec(name)
        if name not in self.models:
            raise UnknownName("model", name, self.models)
        return self.models[name]

    def plugin_of(self, model: str, backend: str | None = None) -> Plugin:
        """Who brought a model."""
        if backend == program.BACKEND:
            return Plugin(model, "external program", "")
        return next(plugin for plugin in self.plugins if model in plugin.models)


def discover(files: Iterable[str | Path] = (), *, guard_files: bool = True) -> Registry:
    """Every installed plugin of the entry-point group `harness`, and the given files.

    A file that does not load is the user's own mistake and raises `UsageError`.
    """
    registry = Registry()
    registry.manager.add_hookspecs(hookspecs)
    points = importlib.metadata.entry_points(group=GROUP)
    # our own first, so that nobody takes a built-in model's name; then by name
    for point in sorted(points, key=lambda p: (p.dist is None or p.dist.name != OURS, p.name)):
        dist = point.dist
        name = dist.name if dist else "unknown distribution"
        version = dist.version if dist else ""
        _add(registry, point.name, name, version, point.load)
    for file in files:
        path = Path(file)
        if guard_files:
            probe(path)
        _add(registry, path.stem, str(path), "", lambda path=path: load_file(path))  # type: ignore[misc]
        if error := registry.plugins[-1].error:
            raise UsageError(f"--plugin {path}: {error}")
    return registry


def _add(registry: Registry, name: str, distribution: str, version: str, load: Callable[[], Any]) -> None:
    """Load, register and validate one plugin under a guard."""
    try:
        module = load()
        models = _collect(module, "harness_models", ModelSpec)
        datasets = _collect(module, "harness_datasets", DatasetSpec)
        exporters = _collect(module, "harness_exporters", ExporterSpec)
        for model in models:
            validate(model)
        for kind, specs, known in (
            ("model", models, registry.models),
            ("dataset", datasets, registry.datasets),
            ("exporter", exporters, registry.exporters),
        ):
            for spec in specs:
                if not NAME.fullmatch(spec.name):
                    raise ValueError(f"{kind} name {spec.name!a} is not of the form {NAME.pattern}")
                if spec.name in known or [other.name for other in specs].count(spec.name) > 1:
                    raise ValueError(f"{kind} {spec.name!r} is already registered")
        registry.manager.register(module, name=f"{distribution}:{name}")
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        registry.plugins.append(Plugin(name, distribution, version, error=reason))
        return
    unknown = [
        hook
        for hook in dir(module)
        if registry.manager.parse_hookimpl_opts(module, hook) is not None and not hasattr(hookspecs, hook)
    ]
    note = f"unknown hook {', '.join(unknown)}: ignored" if unknown else None
    registry.models |= {spec.name: spec for spec in sorted(models, key=lambda s: s.name)}
    registry.datasets |= {spec.name: spec for spec in sorted(datasets, key=lambda s: s.name)}
    registry.exporters |= {spec.name: spec for spec in sorted(exporters, key=lambda s: s.name)}
    registry.plugins.append(
        Plugin(
            name,
            distribution,
            version,
            tuple(spec.name for spec in models),
            tuple(spec.name for spec in datasets),
            note,
            tuple(spec.name for spec in exporters),
        )
    )


def _collect(module: ModuleType, hook: str, kind: type[Any]) -> list[Any]:
    """What one plugin returns from one hook, as a list of specs."""
    function = getattr(module, hook, None)
    if function is None:
        return []
    result = function()
    if not isinstance(result, (kind, Iterable)):
        raise TypeError(f"{hook} returned {result!a}, not a {kind.__name__} or several")
    specs = [result] if isinstance(result, kind) else list(result)
    for spec in specs:
        if not isinstance(spec, kind):
            raise TypeError(f"{hook} returned {spec!a}, not a {kind.__name__}")
    return specs


def validate(spec: ModelSpec) -> None:
    """Raise `ValueError` or `TypeError` where a spec contradicts itself."""
    if not spec.backends:
        raise ValueError(f"model {spec.name!a} has no backend")
    if program.BACKEND in spec.backends:
        raise ValueError(f"model {spec.name!a}: the backend {program.BACKEND!a} is for external programs")
    for overrides in (spec.config, *spec.presets.values()):
        for key, value in overrides.items():
            if type(value) not in (bool, int, float, str):  # numpy's floats are no JSON
                raise TypeError(f"model {spec.name!a}: {key}={value!a} is no bool, int, float or str")
    for preset, overrides in spec.presets.items():
        if unknown := set(overrides) - set(spec.config):
            raise ValueError(f"model {spec.name!a}: preset {preset!r} sets unknown {unknown}")
        for key, value in overrides.items():
            legal = {type(spec.config[key])} | ({str} if value in spec.words.get(key, ()) else set())
            if type(value) not in legal:
                raise TypeError(f"model {spec.name!a}: preset {preset!r}: {key}={value!a} has another type")
    if unknown := set(spec.words) - set(spec.config):
        raise ValueError(f"model {spec.name!a}: words for unknown {unknown}")
    if not 0 < spec.tolerance <= 1e-3:
        raise ValueError(f"model {spec.name!a}: tolerance must be above 0 and at most 1e-3")


def tell(registry: Registry, record: Any) -> list[str]:
    """Give a written record to every `harness_record` hook; one line for each that raised."""
    problems = []
    for implementation in registry.manager.hook.harness_record.get_hookimpls():
        try:
            implementation.function(*[record for _ in implementation.argnames])
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            problems.append(f"harness_record of {implementation.plugin_name}: {reason}")
    return problems


# ---- plugin files


def load_file(path: Path) -> ModuleType:
    """Import one Python file as a plugin module."""
    if not path.is_file():
        raise UsageError(f"no file {path}")
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    name = f"harness_plugin_file_{path.stem}_{digest}"  # two files of one name are two modules
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file (its name must end in .py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    if not any(hasattr(module, hook) for hook in dir(hookspecs) if hook.startswith("harness_")):
        raise UsageError(f"{path} has no hook (harness_models, harness_datasets, harness_exporters, …)")
    return module


def probe(path: Path, seconds: float = LOAD_SECONDS) -> None:
    """Load a file once in a child, so that one that hangs or kills its process harms nothing."""
    command = [sys.executable, "-m", "harness.registry", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise UsageError(f"--plugin {path}: still loading after {seconds:g} s") from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise UsageError(f"--plugin {path}: {said[-1]}")


# ---- availability


def missing(spec: ModelSpec, backend: str) -> str | None:
    """Why a backend cannot run here, told without importing it; None where it can."""
    for module in spec.requires_of(backend):
        if not installed(module):
            return f"{module} is not installed: pip install {module.partition('.')[0]}"
    if backend == "cuda" and (reason := no_cuda()):
        return reason
    return None


def installed(module: str) -> bool:
    """Whether a module can be found, without importing it (of a dotted one, its packages are)."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def no_cuda() -> str | None:
    """Why there is no CUDA device, asked of the driver itself; None where there is one."""
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return f"no CUDA device: the driver ({library}) is not installed"
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return "no CUDA device: the driver does not start"
    return None if count.value else "no CUDA device"


def resolve(spec: ModelSpec, backend: str) -> type[Model]:
    """The class of a backend, imported now; `Unavailable` where this machine cannot run it."""
    if reason := missing(spec, backend):
        raise Unavailable(reason)
    target = spec.backends[backend]
    if isinstance(target, str):
        module, _, attribute = target.partition(":")
        loaded = getattr(importlib.import_module(module), attribute)
    else:
        loaded = target
    if not (isinstance(loaded, type) and issubclass(loaded, Model)):
        raise TypeError(f"{spec.name}@{backend} is {loaded!a}, not a harness.Model")
    if reason := loaded.unavailable():
        raise Unavailable(reason)
    return loaded


def code_hash(model: type[Model] | str) -> str:
    """SHA-256 of the sources that hold a backend's class, which is not imported for it.

    Of a class in a package, every Python file of its top package: what it leans on counts too.
    """
    module = model.partition(":")[0] if isinstance(model, str) else model.__module__
    loaded = sys.modules.get(module)
    origin = getattr(loaded, "__file__", None)
    if origin is None:
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            spec = None
        origin = spec.origin if spec else None
    if origin is None or not Path(origin).is_file():
        return hashlib.sha256(f"{model}".encode()).hexdigest()
    file = Path(origin)
    depth = module.count(".") + (file.name == "__init__.py")
    if depth == 0:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    files = sorted(file.parents[depth - 1].rglob("*.py"))
    digest = hashlib.sha256()
    for each in files:
        digest.update(each.name.encode() + b"\0" + each.read_bytes())
    return digest.hexdigest()


def default_backend(spec: ModelSpec, device: str | None) -> str:
    """The first backend that can run here (of the asked device, if it has one), else the first."""
    first = {"cuda": ("cuda",), "cpu": tuple(name for name in spec.backends if name != "cuda")}
    order = sorted(spec.backends, key=lambda name: name not in first.get(device or "", ()))
    return next((name for name in order if missing(spec, name) is None), order[0])


def availability(spec: ModelSpec) -> Mapping[str, str | None]:
    """Backend -> the reason why it cannot run here, or None."""
    return {backend: missing(spec, backend) for backend in spec.backends}


if __name__ == "__main__":  # the child of `probe`
    try:
        load_file(Path(sys.argv[1]))
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).split())
        sys.exit(text if isinstance(error, UsageError) else f"{type(error).__name__}: {text}")
