"""The built-in datasets: ordinary plugins of the entry-point group `harness`."""

from __future__ import annotations

import string
from importlib import resources

from harness import DatasetSpec, hookimpl
from harness_datasets import markov

NAMES_SHA256 = "42f0f96af0469a05f9620a97a35fb34b02a09ea60dc0e95628a297be674ff87b"
MAKEMORE = (
    "https://raw.githubusercontent.com/karpathy/makemore/988aa59e4d8fefa526d06f3b453ad116258398d4/names.txt"
)
SHAKESPEARE = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/d1d7aa34fdb3626174bce1d753e6cc6845ce7087"
    "/data/tinyshakespeare/input.txt"
)
MAKEMORE_SHA256 = "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d"
SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


def languages() -> dict[str, str]:
    """Language -> its file of names, in alphabetical order of the languages."""
    folder = resources.files("harness_datasets").joinpath("names")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".txt")), key=lambda f: f.name)
    return {file.name.removesuffix(".txt"): file.read_text(encoding="utf-8") for file in files}


def names() -> str:
    """All files, one after the other."""
    return "".join(languages().values())


def names_facts() -> dict[str, object]:
    """What only this dataset's card has: the languages."""
    counts = {language: text.count("\n") for language, text in languages().items()}
    listed = ", ".join(f"{language.replace('_', ' ')} {n}" for language, n in counts.items())
    return {"languages": f"{len(counts)}: {listed}"}


def makemore_names() -> bytes:
    """The list of the lectures."""
    from harness.dataset import fetch

    return fetch("makemore-names.txt", MAKEMORE, MAKEMORE_SHA256)


def tinyshakespeare() -> bytes:
    """40,000 lines of Shakespeare."""
    from harness.dataset import fetch

    return fetch("tinyshakespeare.txt", SHAKESPEARE, SHAKESPEARE_SHA256)


@hookimpl
def harness_datasets() -> list[DatasetSpec]:
    """Every built-in dataset; nothing is read before one is chosen."""
    return [
        DatasetSpec(
            "names",
            names,
            alphabet=string.ascii_lowercase,
            licence="CC0-1.0",
            source="written for this project from general knowledge; in the package",
            sha256=NAMES_SHA256,
            facts=names_facts,
            description="given names of many languages; a name at home in two stands twice",
        ),
        DatasetSpec(
            "makemore-names",
            makemore_names,
            alphabet=string.ascii_lowercase,
            licence="not stated by its source",
            source=MAKEMORE,
            sha256=MAKEMORE_SHA256,
            description="the names of the makemore lectures; downloaded once",
        ),
        DatasetSpec(
            "tinyshakespeare",
            tinyshakespeare,
            alphabet=None,
            kind="text",
            licence="public domain",
            source=SHAKESPEARE,
            sha256=SHAKESPEARE_SHA256,
            description="40,000 lines of Shakespeare as running text; downloaded once",
        ),
        DatasetSpec(
            "markov",
            markov.documents,
            alphabet=markov.alphabet,
            licence="CC0-1.0",
            source="drawn from a random Markov source whose law is known",
            default_split="lecture",  # independent draws: equal documents may stand on both sides
            true_source=markov.MarkovSource.of,
            config={"order": 1, "vocab": 27, "seed": 0, "documents": 20000},
            description="synthetic lines; the table shows the excess over the true source",
        ),
    ]
