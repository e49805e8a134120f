"""A whole process that fits an n-gram model on a text file and writes its parameters, as `lmplz` does.

python tests/bench/fit_text.py MODEL TEXT PARAMETERS
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import numpy as np

from harness import Alphabet, Corpus, Trial, registry, selection


def main(model: str, text: Path, parameters: Path) -> None:
    """The text is one document; its characters are the alphabet."""
    characters = text.read_text(encoding="utf-8")
    alphabet = Alphabet("".join(sorted(set(characters))))
    train = Corpus.from_documents([characters], alphabet, "text")
    (choice,) = selection.choose(registry.discover(), [model])
    module, _, name = str(choice.spec.backends[choice.backend]).partition(":")
    fitted = getattr(import_module(module), name)(alphabet.size, choice.config, np.random.default_rng(0))
    fitted.context = choice.spec.context_of(choice.config)
    fitted.fit(train, train, Trial())
    np.savez(parameters, **fitted.params)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
