"""Checks of the law: that the probabilities are those that a text can be written and drawn with."""

from __future__ import annotations

import math
from os.path import commonprefix

import numpy as np

from harness import codec, evaluate
from harness.corpus import Corpus
from harness.errors import DataError
from harness.goodness import goodness
from harness.sample import draw, longest
from harness.seeds import derive
from harness.subject import Finding, Subject

DRAWN, MOST = 20_000, 500_000  # documents; of running text, so many characters at most
LEVEL = 1e-6
DOCUMENTS = 200  # of one stream
CHARACTERS = 384  # of running text: its windows move once, and each character is a call


def check_sampler(subject: Subject, documents: int = DRAWN) -> Finding:
    """20,000 complete documents are drawn as the model's own rows after their prefixes say, p > 1e-6.

    One pooled G statistic, conditioned on the previous two characters (`harness.goodness`).
    """
    name = "sampler obeys the law"
    limit = longest(subject.parts.train)
    n = documents if subject.parts.train.kind == "lines" else min(documents, MOST // limit)
    drawn = draw(subject.fitted, n, subject.alphabet, limit, derive(subject.fit_seed, name))
    found = goodness(drawn.texts, subject.fitted, subject.alphabet, limit, subject.context, subject.rng(name))
    if found.p > LEVEL:
        return Finding(name, "pass", str(found))
    return Finding(name, "fail", f"{found}; {found.worst}")


def check_code_length(subject: Subject) -> Finding:
    """200 held-out documents as one code: written in one process, read in another, byte for byte.

    Bound: bits ≤ NLL / ln 2 + 64 + 0.002 a character. p = 0 on a target has no code: not applicable.
    """
    name = "code length is real"
    corpus = stretch(subject)
    if not corpus.targets:
        return Finding(name, "n/a", "there are no held-out documents")
    schedule = codec.Schedule.of(corpus, subject.context)
    with subject.process() as make:
        writer = subject.loaded(make)
        try:
            code = codec.encode(writer, corpus, schedule)
        except codec.NoCode as error:
            return Finding(name, "n/a", f"p = 0 on a target: {target(corpus, error)}")
        nats = math.fsum(evaluate.score_targets(writer, corpus, subject.context).tolist())
    texts = [corpus.text(document) for document in range(len(corpus))]
    with subject.process() as make:
        try:
            found = codec.decode(subject.loaded(make), corpus.alphabet, schedule, code)
        except DataError as error:
            return Finding(name, "fail", f"the text does not come back: {error}")
    if found != texts:
        return Finding(name, "fail", f"the text does not come back: {first_difference(texts, found)}")
    bits, bound = 8 * len(code), codec.bits_allowed(nats, corpus.targets, corpus.alphabet.size)
    said = f"{bits:,} bits for {corpus.targets:,} characters, NLL/ln 2 is {nats / math.log(2):,.1f}"
    if bits > bound:
        return Finding(name, "fail", f"{said}, at most {bound:,.1f} allowed")
    return Finding(name, "pass", said)


def stretch(subject: Subject) -> Corpus:
    """200 documents drawn from dev and test, in their order; of running text, the beginning of test."""
    parts = [part.corpus for part in (subject.parts.dev, subject.parts.test)]
    texts = [part.text(document) for part in parts for document in range(len(part))]
    if parts[1].kind == "text":
        return Corpus.from_documents([text[:CHARACTERS] for text in texts[-1:]], parts[1].alphabet, "text")
    drawn = subject.rng("code length").choice(len(texts), min(DOCUMENTS, len(texts)), replace=False)
    return Corpus.from_documents([texts[index] for index in np.sort(drawn)], parts[1].alphabet)


def target(corpus: Corpus, error: codec.NoCode) -> str:
    """`'x' after 'emm'`."""
    text = corpus.text(error.piece)[: error.place]
    what = ascii(corpus.alphabet.decode([error.token])) if error.token else "the end"
    return f"{what} after {text[-40:]!a} in document {error.piece + 1}"


def first_difference(texts: list[str], found: list[str]) -> str:
    """`document 3 is 'emma', and 'emme' came back`."""
    at = next(index for index, (ours, theirs) in enumerate(zip(texts, found, strict=True)) if ours != theirs)
    same = len(commonprefix([texts[at], found[at]]))  # noqa: RUF071 - these are no paths
    near = slice(max(0, same - 20), same + 20)
    return f"document {at + 1} is {texts[at][near]!a}, and {found[at][near]!a} came back"
