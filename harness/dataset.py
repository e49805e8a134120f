"""`DatasetSpec` -> verified documents, with the card that describes them.

A dataset is named as on the command line: `names`, `markov:order=2,seed=1`, `file:poems.txt`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import settings
from harness.contract import DatasetSpec, Model
from harness.corpus import Alphabet, Kind
from harness.errors import DataError, HarnessError

Documents = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Verified documents in their order. Running text is one document."""

    name: str
    kind: Kind
    alphabet: Alphabet
    documents: Documents = field(repr=False)
    sha256: str
    licence: str
    source: str
    default_split: str
    size: int  # bytes of the raw text
    blank: int = 0  # lines dropped because they were blank
    true_source: Model | None = None
    description: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)

    def card(self) -> dict[str, object]:
        """What `harness data describe` prints, in its order."""
        lines = self.kind == "lines"
        lengths = sorted(len(document) for document in self.documents)
        distinct = len(set(self.documents))
        boundary = " and the boundary" if lines else " and the boundary before the first"
        card: dict[str, object] = {
            "name": self.name,
            "description": self.description,
            "kind": "lines: a document is a line" if lines else "text: running text",
            "source": self.source,
            "licence": self.licence,
            "size": f"{self.size:,} bytes",
            "sha256": self.sha256,
            "alphabet": f"{len(self.alphabet.characters)} characters{boundary}: "
            + ascii(self.alphabet.characters)[1:-1],
        }
        if lines:
            card |= {
                "documents": f"{len(lengths):,}",
                "distinct": f"{distinct:,}",
                "duplicates": f"{len(lengths) - distinct:,}",
                "blank lines dropped": f"{self.blank:,}",
                "lengths": f"shortest {lengths[0]}, median {lengths[len(lengths) // 2]}, "
                f"mean {sum(lengths) / len(lengths):.2f}, longest {lengths[-1]}",
                "targets": f"{sum(lengths) + len(lengths):,}, ends included",
            }
        else:
            card |= {"characters": f"{lengths[0]:,}", "targets": f"{lengths[0]:,}"}
        entropy = getattr(self.true_source, "entropy_rate", None)
        if entropy is not None:
            card["entropy rate"] = f"{entropy():.6f} nats per target (of the true source)"
        card["default split"] = self.default_split
        return card | dict(self.facts)


def open_dataset(spec: DatasetSpec, config: Mapping[str, Any] | None = None) -> Dataset:
    """Load, verify and cut the documents of a registered dataset."""
    given = dict(config or {})
    config = {**spec.config, **given}
    try:
        raw = spec.load(**config)
        if isinstance(raw, bytes | str):
            content = raw.encode() if isinstance(raw, str) else raw
        else:
            content = "".join(f"{document}\n" for document in raw).encode()
    except HarnessError:
        raise
    except (Exception, SystemExit) as error:  # a plugin's code
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise DataError(f"dataset {spec.name} cannot be loaded: {reason}") from error
    found = hashlib.sha256(content).hexdigest()
    if spec.sha256 is not None and found != spec.sha256:
        raise DataError(f"dataset {spec.name}: sha256 is {found}, expected {spec.sha256}")
    alphabet = spec.alphabet(config) if callable(spec.alphabet) else spec.alphabet
    options = ",".join(f"{key}={value}" for key, value in config.items())
    return _cut(
        content,
        name=f"{spec.name}:{options}" if options else spec.name,
        kind=spec.kind,
        alphabet=alphabet,
        licence=spec.licence,
        source=spec.source,
        default_split=spec.default_split,
        true_source=spec.true_source(config) if spec.true_source else None,
        description=spec.description,
        facts=spec.facts() if spec.facts else {},
    )


def open_file(path: Path, kind: Kind | None = None) -> Dataset:
    """Any UTF-8 text of the user's; the alphabet is the sorted characters of the whole file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"file:{path}: {error.strerror or error}") from None
    return _cut(
        content,
        name=f"file:{path}",
        kind=kind or "lines",
        alphabet=None,
        licence="the user's own",
        source=str(path),
        default_split=None,
    )


def _cut(
    content: bytes,
    *,
    name: str,
    kind: Kind,
    alphabet: str | None,
    default_split: str | None,
    **card: Any,
) -> Dataset:
    """Bytes -> documents."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: not UTF-8 (byte {error.start}: {error.reason})") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    documents, blank = cut_documents(text, kind)
    if not documents:
        raise DataError(f"{name}: no text in it")
    used = set().union(*documents)
    characters = "".join(sorted(used)) if alphabet is None else alphabet
    if foreign := used - set(characters):
        raise DataError(f"{name}: characters outside its alphabet: {''.join(sorted(foreign))!a}")
    return Dataset(
        name=name,
        kind=kind,
        alphabet=Alphabet(characters),
        documents=documents,
        sha256=hashlib.sha256(content).hexdigest(),
        default_split=default_split or ("grouped" if kind == "lines" else "contiguous"),
        size=len(content),
        blank=blank,
        **card,
    )


def cut_documents(text: str, kind: Kind) -> tuple[Documents, int]:
    """A text's documents, and how many blank lines were dropped."""
    if kind == "text":
        return ((text,) if text else ()), 0
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    kept = tuple(line for line in lines if line.strip())
    return kept, len(lines) - len(kept)


# ---- files that are downloaded once


def fetch(file: str, url: str, sha256: str) -> bytes:
    """A pinned file: from `HARNESS_DATA_DIR`, else from the cache, else downloaded (pooch).

    Errors: `DataError` where the file is damaged, or absent and not to be had.
    """
    folder = settings.data_dir()
    if folder is not None and not folder.is_dir():
        raise DataError(f"HARNESS_DATA_DIR names {folder}, which is no folder")
    if folder is not None and (folder / file).is_file():
        return _verified(folder / file, sha256)
    cached = settings.cache_dir() / file
    if cached.is_file():
        content = cached.read_bytes()
        if hashlib.sha256(content).hexdigest() == sha256:
            return content  # a damaged copy is downloaded again
    out = f"put it at HARNESS_DATA_DIR/{file}"
    if settings.offline():
        raise DataError(f"{file} is not here and HARNESS_OFFLINE is set: unset it, or {out}")
    try:
        import pooch

        pooch.get_logger().setLevel("CRITICAL")  # what goes wrong is said once, below
    except ModuleNotFoundError:
        raise DataError(f"{file} must be downloaded: pip install pooch, or {out}") from None
    try:
        downloader = pooch.HTTPDownloader(progressbar=False, timeout=30)
        manager = pooch.create(
            path=settings.cache_dir(),
            base_url="",
            registry={file: f"sha256:{sha256}"},
            urls={file: url},
            retry_if_failed=2,
        )
        return Path(manager.fetch(file, downloader=downloader)).read_bytes()
    except ValueError:
        reason = "its SHA-256 is not the pinned one"
    except OSError as error:  # requests' errors are OSErrors too
        answered = getattr(error, "response", None) is not None
        reason = str(error) if answered else type(error).__name__
    raise DataError(f"cannot download {url}: {reason}; {out}")


def _verified(path: Path, sha256: str) -> bytes:
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(f"{path}: sha256 is {found}, expected {sha256}: not the file it should be")
    return content


def parse(name: str) -> tuple[str, str]:
    """`markov:order=2` -> ("markov", "order=2"); `file:PATH` keeps its path whole."""
    head, _, rest = name.partition(":")
    return head.strip(), rest
