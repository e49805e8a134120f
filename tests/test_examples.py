"""plugins/examples: the count bigram in C and in JavaScript, against the Python one."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness import Corpus, Trial, registry
from harness.cli import main
from harness.corpus import Alphabet
from harness.instances import instance
from harness.labels import called
from harness_plugins.count_bigram import CountBigram

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Their commands by language, built where the language is here."""
    folder = tmp_path_factory.mktemp("examples")
    found = {}
    if compiler := shutil.which("cc"):
        source = ROOT / "plugins" / "examples" / "bigram.c"
        flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror"]
        subprocess.run([compiler, *flags, "-o", str(folder / "bigram"), str(source), "-lm"], check=True)
        found["c"] = str(folder / "bigram")
    if shutil.which("node"):
        found["js"] = f"node {ROOT / 'plugins' / 'examples' / 'bigram.js'}"
    return found


@pytest.fixture(params=["c", "js"])
def example(request: pytest.FixtureRequest, examples: dict[str, str]) -> str:
    """The command of one of them; skips where its language is missing."""
    if request.param not in examples:
        pytest.skip(f"no {'cc' if request.param == 'c' else 'node'} here")
    return examples[request.param]


def fitted(command: str, corpus: Corpus, **options: Any) -> Any:
    """The example, fitted in a process of its own."""
    v = corpus.alphabet.size
    model = instance(registry.Registry(), "x", "exec", {"program": command, **options}, v, 7)
    model.fit(corpus, corpus, Trial())
    return model


@pytest.mark.parametrize(
    ("characters", "k"),
    [
        ("abcdefg", 1.0),
        ("abcdefg", 0.0),
        ("abcdefg", 0.25),
        ('"\\]}[{,:é\U0001f600\x00', 0.5),  # what a reader of JSON may trip over
        ("".join(map(chr, range(0x4E00, 0x4E00 + 300))), 0.1),  # tokens of two bytes
    ],
)
def test_an_example_matches_the_python_model(example: str, characters: str, k: float) -> None:
    """Rows and parameters are those of the registered count bigram, to 1e-12."""
    rng = np.random.default_rng(0)
    documents = ["".join(rng.choice(list(characters), size)) for size in rng.integers(1, 9, 40)]
    corpus = Corpus.from_documents(documents, Alphabet(characters))
    v = corpus.alphabet.size
    model = fitted(example, corpus, note='{"k":9,"vocabulary":1}', k=k)
    oracle = CountBigram(v, {"k": k}, np.random.default_rng(0))
    oracle.fit(corpus, corpus, Trial())
    inputs = rng.integers(0, v, (3, 5))
    np.testing.assert_allclose(model.log_probs(inputs), oracle.log_probs(inputs), rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        model.next_log_probs(inputs), oracle.log_probs(inputs)[:, -1], rtol=0, atol=1e-12
    )
    assert np.array_equal(model.params["counts"], oracle.params["counts"])


def test_an_example_is_loaded_from_its_parameters(example: str, small: Corpus) -> None:
    """A new process that is given `params` gives the same rows, to the bit."""
    model = fitted(example, small, k=0.5)
    inputs = np.arange(27)[None]
    other = instance(registry.Registry(), "x", "exec", {"program": example, "k": 0.5}, 27, 8)
    other.params = model.params
    assert np.array_equal(other.log_probs(inputs), model.log_probs(inputs))


def test_a_model_that_is_not_asked_starts_nothing(example: str, small: Corpus) -> None:
    """A stored run can be looked at without running what it names."""
    model: Any = instance(registry.Registry(), "x", "exec", {"program": example}, 27, 8)
    model.params = {"counts": np.zeros((27, 27))}
    assert "proxy" not in vars(model)
    model.next_log_probs(np.zeros((1, 1), np.int64))
    assert model.proxy.child.poll() is None


def test_the_examples_in_a_run(
    examples: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their rows beside the Python model's; a stored one is drawn from and scored when named in full."""
    if not examples:
        pytest.skip("neither cc nor node here")
    chosen = [f'{name}-bigram@exec:program="{command}",context=1' for name, command in examples.items()]
    models = ",".join([*chosen, "count-bigram"])
    result = harness.run(models, dataset="markov:documents=300", results=tmp_path / "results")
    *ours, twin = result.records
    assert [record.status for record in ours] == ["ok"] * len(ours), [record.reason for record in ours]
    for record in ours:
        for name in ("train_nll", "dev_nll", "test_nll", "test_nll_se"):
            value, expected = getattr(record.metrics, name), getattr(twin.metrics, name)
            assert value == pytest.approx(expected, abs=1e-12), name
        assert record.parameters == twin.parameters
        assert f"{record.model}@exec" in str(result)
    first = ours[0]
    if "c" in examples:
        digest = hashlib.sha256(Path(examples["c"]).read_bytes()).hexdigest()
        assert first.plugin.code_hash == digest
    results = ["--results", str(tmp_path / "results")]
    capsys.readouterr()

    assert main(["sample", first.model, *results]) == 2  # a run file alone starts no program
    said = capsys.readouterr().err
    assert f"'{first.model}' starts an external program: name it in full, '{first.model}@exec:" in said

    samples = list(result.run.samples(first))
    assert main(["sample", called(first), "-n", str(len(samples)), "--json", *results]) == 0
    drawn = [sample["text"] for sample in json.loads(capsys.readouterr().out)["samples"]]
    assert drawn == samples

    text = tmp_path / "mine.txt"
    text.write_text("\n".join(samples[:3]) + "\n")
    scores = []
    for name in (called(first), "count-bigram"):
        assert main(["score", name, str(text), "--json", *results]) == 0
        scores.append(json.loads(capsys.readouterr().out)["total"]["nats"])
    assert scores[0] == pytest.approx(scores[1], abs=1e-9)
