"""`harness sample`: what is drawn from a stored run, how it is marked, and which model is meant."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

import harness
from harness import plan, store
from harness.cli import main
from harness.labels import called
from harness.record import Record

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
MODELS = (
    "count-bigram,count-bigram:k=0,nn-bigram:preset=lecture,steps=9,mlp:steps=20,learning_rate=0.25,uniform"
)
NAMES = [f"{a}{b}{c}" for a in "abc" for b in "de" for c in ("", "f", "fa")] * 9  # 18 names


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with names.txt, prose.txt and two runs: of the names, and before it of the prose."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "names.txt").write_text("\n".join(NAMES) + "\n")
    (folder / "prose.txt").write_text("to be\nor not \x1bto be\n" * 500)
    for name, kind in (("prose", "text"), ("names", "lines")):
        harness.run(
            MODELS if kind == "lines" else "count-bigram:k=0",
            dataset=f"file:{folder}/{name}.txt",
            kind=kind,  # type: ignore[arg-type]
            split="lecture" if kind == "lines" else None,
            results=folder / "results",
            in_process=True,
        )
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The results of the two runs, to be read only."""
    monkeypatch.setenv("HARNESS_RESULTS", str(made / "results"))
    return made / "results"


@pytest.fixture
def own(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the results that a test may change."""
    copied = tmp_path / "copied"
    shutil.copytree(made / "results", copied)
    monkeypatch.setenv("HARNESS_RESULTS", str(copied))
    return copied


def latest(folder: Path) -> store.Run:
    """The run of the names."""
    return store.read(store.run_files(folder)[-1])


def rewrite(folder: Path, **changes: Any) -> None:
    """Change every record of the run of the names; `data` and others by their fields."""
    run = latest(folder)
    run.path.unlink()
    writer = store.Writer(run.path, run.header)
    for record in run.records:
        plain = msgspec.to_builtins(record)
        for field, value in changes.items():
            plain[field] = plain[field] | value if isinstance(plain[field], dict) and value else value
        writer.cell(msgspec.convert(plain, Record))
    writer.close()


def sampled(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """The JSON that `harness sample` prints."""
    assert main(["sample", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out, parse_constant=lambda constant: pytest.fail(constant))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a mistake."""
    assert main(["sample", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"harness: [^\n]+\n", printed.err)
    return printed.err


def documents_of(made: Path) -> dict[str, list[str]]:
    """Part -> its names."""
    opened = plan.plan("uniform", data=f"file:{made}/names.txt", method="lecture")
    parts = opened.split_for(opened.cells[0].choice)
    corpora = {"train": parts.train, "dev": parts.dev.corpus, "test": parts.test.corpus}
    return {name: [corpus.text(i) for i in range(len(corpus))] for name, corpus in corpora.items()}


# ---- what is drawn


def test_every_line_is_a_sample_with_its_mark(
    capsys: pytest.CaptureFixture[str], folder: Path, made: Path
) -> None:
    """The mark says in which parts a sample stands, by brute force; the shares are on stderr."""
    assert main(["sample", "count-bigram", "-n", "200"]) == 0
    printed = capsys.readouterr()
    documents = documents_of(made)
    seen = dict.fromkeys(["new", "in train", "in dev", "in test"], 0)
    lines = printed.out.splitlines()
    assert len(lines) == 200
    for line in lines:
        text, marks = re.split(r"  +", line)
        text = text.replace("∅", "")
        expected = [f"in {part}" for part, those in documents.items() if text in those] or ["new"]
        assert marks.split(", ") == expected
        for mark in expected:
            seen[mark] += 1
    assert all(seen.values())
    shares = ", ".join(f"{100 * count / 200:.3g} % {mark}" for mark, count in seen.items())
    assert re.fullmatch(
        rf"count-bigram@numpy, seed \d+: 200 samples: {shares}, [\d.]+ % duplicates, [\d.]+ % truncated\n",
        printed.err,
    )


def test_the_runs_own_samples_come_again(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """With the seed and the number of the run, the stored samples are drawn again."""
    run = latest(folder)
    for record in run.records:
        texts = run.samples(record)
        assert texts is not None
        again = sampled(capsys, f"{record.label}@{record.backend}", "-n", str(len(texts)))
        assert [each["text"] for each in again["samples"]] == texts
        assert again["seed"] == record.sample_seed
        assert again["run_id"] == run.header.run_id


def test_a_seed_draws_others(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """`--seed` decides alone."""
    first, again, other = (sampled(capsys, "uniform", "--seed", seed)["samples"] for seed in "112")
    assert first == again != other


def test_greedy_and_top_k(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """Temperature 0 and top-k 1 both give the likeliest document, every time."""
    greedy = sampled(capsys, "count-bigram:k=0", "--temperature", "0", "-n", "3")
    single = sampled(capsys, "count-bigram:k=0", "--top-k", "1", "-n", "3")
    texts = {each["text"] for each in greedy["samples"] + single["samples"]}
    assert len(texts) == 1
    assert greedy["shares"]["duplicates"] == 2 / 3


def test_a_prompt_begins_every_sample(capsys: pytest.CaptureFixture[str], folder: Path, made: Path) -> None:
    """The prompt is part of the sample, and of what is looked up in the data."""
    found = sampled(capsys, "count-bigram:k=0", "--prompt", "bdf", "-n", "50")
    assert {each["text"] for each in found["samples"]} >= {"bdf", "bdfa"}
    assert all(each["text"].startswith("bdf") for each in found["samples"])
    expected = [f"in {part}" for part, those in documents_of(made).items() if "bdf" in those]
    assert expected
    assert next(each["marks"] for each in found["samples"] if each["text"] == "bdf") == expected


def test_max_length_cuts(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """`--max-length` is the limit, by default that of the run."""
    found = sampled(capsys, "uniform", "--max-length", "2", "-n", "50")
    assert {len(each["text"]) for each in found["samples"]} == {0, 1, 2}
    assert found["shares"]["truncated"] > 0
    assert sampled(capsys, "uniform")["max_length"] == 8


def test_running_text_is_shown_in_paragraphs(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """A numbered head with the mark, then the text with its line breaks; control characters are harmless."""
    prose = store.run_files(folder)[0].stem
    assert main(["sample", "count-bigram", "--run", prose, "-n", "2", "--prompt", "or\nnot \x1bto"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("[1] new\nor\nnot \\x1bto")
    assert "\n\n[2] new\nor\nnot \\x1bto" in printed.out
    assert "\x1b" not in printed.out
    assert max(map(len, printed.out.splitlines())) < 500
    assert "100 % new" in printed.err


def test_a_piece_of_text_is_marked(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """Of running text, a sample stands in a part where it occurs in it."""
    prose = store.run_files(folder)[0].stem
    found = sampled(
        capsys, "count-bigram", "--run", prose, "--prompt", "to b", "--max-length", "5", "-n", "20"
    )
    marks = {each["text"]: each["marks"] for each in found["samples"]}
    assert marks["to be"] == ["in train", "in dev", "in test"]


# ---- which model


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("uniform", "uniform@numpy"),
        ("uniform@numpy", "uniform@numpy"),
        ("count-bigram", "count-bigram@numpy"),
        ("count-bigram k=0", "count-bigram@numpy:k=0"),
        ("count-bigram@numpy  k=0", "count-bigram@numpy:k=0"),
        ("count-bigram k=0@numpy", "count-bigram@numpy:k=0"),
        ("count-bigram:k=0", "count-bigram@numpy:k=0"),
        ("count-bigram@numpy:k=0", "count-bigram@numpy:k=0"),
        ("mlp", "mlp@numpy:steps=20,learning_rate=0.25"),
        ("mlp steps=20 learning_rate=0.25", "mlp@numpy:steps=20,learning_rate=0.25"),
        ("mlp:steps=20,learning_rate=0.25", "mlp@numpy:steps=20,learning_rate=0.25"),
        ("nn-bigram preset=lecture steps=9", "nn-bigram@numpy:preset=lecture,steps=9"),
    ],
)
def test_how_a_model_is_named(
    capsys: pytest.CaptureFixture[str], folder: Path, name: str, meant: str
) -> None:
    """By the table's label, with or without backend, as a selection, or by the model where it stands once."""
    assert main(["sample", name, "-n", "1"]) == 0
    assert capsys.readouterr().err.startswith(f"{meant}, seed ")


def test_an_unknown_model_lists_what_the_run_holds(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """One line that names every model of the run."""
    said = refused(capsys, "mpl")
    assert "no model 'mpl'" in said
    for record in latest(folder).records:
        assert f"'{called(record)}'" in said
    assert "no model 'mlp #2'" not in said
    assert "'mlp@numpy:steps=20,learning_rate=0.25'" in refused(capsys, "mlp #2")


def test_an_ambiguous_model_lists_what_it_could_be(capsys: pytest.CaptureFixture[str], own: Path) -> None:
    """Where a name fits several configurations, these are named, and no others."""
    run = latest(own)
    run.path.unlink()
    writer = store.Writer(run.path, run.header)
    for record in run.records:
        if record.label != "count-bigram":
            writer.cell(record)
    second = next(record for record in run.records if record.label == "count-bigram k=0")
    second.cell, second.options, second.config = 9, {"k": 0.25}, {"k": 0.25}
    writer.cell(second)
    writer.close()
    said = refused(capsys, "count-bigram")
    assert "several models" in said
    assert said.count("count-bigram") == 3
    assert "'count-bigram@numpy:k=0', 'count-bigram@numpy:k=0.25'" in said


def test_seeds_of_one_model(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The first seed is taken, and stderr says so; `#2` names the second."""
    results = tmp_path / "seeds"
    result = harness.run(
        "mlp:steps=2", dataset="markov:documents=60", seeds=2, results=results, in_process=True
    )
    seeds = [str(record.sample_seed) for record in result.records]
    for name, seed, said in (
        ("mlp", seeds[0], True),
        ("mlp #1", seeds[0], False),
        ("mlp:steps=2 #2", seeds[1], False),
    ):
        assert main(["sample", name, "--results", str(results)]) == 0
        err = capsys.readouterr().err
        assert f"seed {seed}:" in err
        assert ("the first of 2 seeds" in err) == said


def test_another_run_is_named_with_run(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """`--run` takes a file, an id or its start; `latest` is the default."""
    older = store.run_files(folder)[0]
    for name in (older.stem, older.stem[:-1], str(older)):
        assert sampled(capsys, "count-bigram", "--run", name, "-n", "1")["run_id"] == older.stem
    assert sampled(capsys, "count-bigram", "-n", "1")["run_id"] == latest(folder).header.run_id
    assert "no run starts with 'nonesuch'" in refused(capsys, "count-bigram", "--run", "nonesuch")


# ---- what cannot be had


def test_data_that_is_gone_costs_the_marks(
    capsys: pytest.CaptureFixture[str], own: Path, tmp_path: Path
) -> None:
    """Samples are printed without marks, and stderr says why; the limit is the run's."""
    before = [each["text"] for each in sampled(capsys, "mlp")["samples"]]
    rewrite(own, dataset="file:gone.txt")
    assert main(["sample", "mlp"]) == 0
    printed = capsys.readouterr()
    assert [line.replace("∅", "") for line in printed.out.splitlines()] == before
    assert "warning: samples are not marked, because the run's data is not here: file:gone.txt" in printed.err
    assert "20 samples: " in printed.err
    assert "new" not in printed.err
    assert sampled(capsys, "mlp")["samples"][0]["marks"] is None


@pytest.mark.parametrize("field", ["dataset_sha256", "split_fingerprint"])
def test_data_that_has_changed_costs_the_marks(
    capsys: pytest.CaptureFixture[str], own: Path, field: str
) -> None:
    """Other bytes under the same name, or other parts, are not what the model was fitted on."""
    rewrite(own, data={field: "0" * 64})
    assert main(["sample", "mlp", "-n", "1"]) == 0
    assert "has changed since the run" in capsys.readouterr().err


def test_an_old_record_takes_its_alphabet_from_the_data(
    capsys: pytest.CaptureFixture[str], own: Path
) -> None:
    """Without alphabet and statistics in the record the data must be there, or it is one line."""
    before = sampled(capsys, "mlp")
    rewrite(own, data={"alphabet": None}, sample_statistics=None)
    assert sampled(capsys, "mlp") == before
    rewrite(own, dataset="file:gone.txt")
    assert "does not hold its alphabet" in refused(capsys, "mlp")
    rewrite(own, data={"alphabet": "abcdef"})
    assert main(["sample", "mlp"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("harness: --max-length is needed")
    found = sampled(capsys, "mlp", "--max-length", "8")
    assert [each["text"] for each in found["samples"]] == [each["text"] for each in before["samples"]]


def test_parameters_that_were_not_kept(capsys: pytest.CaptureFixture[str], own: Path) -> None:
    """A run whose parameters are gone says so; a model without any needs none."""
    for path in own.rglob("*.params.npz"):
        path.unlink()
    said = refused(capsys, "mlp")
    assert "parameters" in said
    assert "were not kept" in said
    assert main(["sample", "uniform", "-n", "1"]) == 0


def test_a_model_that_broke_has_nothing_to_draw_from(capsys: pytest.CaptureFixture[str], own: Path) -> None:
    """The status and the reason of its row are said."""
    rewrite(own, status="diverged", reason="loss is inf")
    said = refused(capsys, "mlp")
    assert "diverged, loss is inf" in said


def test_a_plugin_that_is_gone_is_named(capsys: pytest.CaptureFixture[str], own: Path) -> None:
    """A model that nobody registers any more: who brought it, and the way out."""
    rewrite(own, model="theirs", plugin={"distribution": "their-models"})
    said = refused(capsys, "theirs@numpy k=0")
    assert "their-models" in said
    assert "--plugin" in said


def test_a_member_whose_plugin_is_gone_is_named(capsys: pytest.CaptureFixture[str], own: Path) -> None:
    """A mixture with a member that nobody registers: which one, and the way out."""
    rewrite(own, model="mixture", config={"of": "theirs+uniform", "positions": 1, "weights": "dev"})
    said = refused(capsys, "mixture@numpy k=0")
    assert "'theirs'" in said
    assert "--plugin" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prompt", "abé"], "--prompt: its character 3, 'é', is not one of the model's 6 characters"),
        (["--prompt", "ab\n"], r"--prompt: its character 3, '\n'"),
        (["--prompt", "ab\0"], r"--prompt: its character 3, '\x00'"),
        (["--prompt", "abcdefab"], "--prompt has 8 characters: give a --max-length above, not 8"),
        (["--temperature", "nan"], "--temperature nan"),
        (["--temperature", "inf"], "--temperature inf"),
        (["--temperature", "-1"], "'--temperature'"),
        (["--top-k", "0"], "'--top-k'"),
        (["-n", "0"], "'-n'"),
        (["--max-length", "0"], "'--max-length'"),
    ],
)
def test_a_mistake_is_one_line(
    capsys: pytest.CaptureFixture[str], folder: Path, arguments: list[str], said: str
) -> None:
    """Exit 2, nothing on stdout, one line that names the option and what is wrong."""
    assert said in refused(capsys, "mlp", *arguments)


# ---- README


def test_the_commands_of_the_readme(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """README's commands on a stored run work as they stand."""
    block = re.search(r"<!-- stored -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert block
    harness.run("mlp:steps=5", dataset="markov:documents=60", in_process=True)
    Path("mine.txt").write_text("ab\ncab\n")
    for line in block[1].splitlines():
        words = shlex.split(line, comments=True)
        assert words[0] == "harness"
        known = str(latest(Path("results")).records[0].data.alphabet)
        words = [known[:2] if word == "jo" else word for word in words]
        assert main(words[1:]) == 0, line
        assert capsys.readouterr().out
