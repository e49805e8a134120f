"""`harness compare`: what its arguments stand for, what it prints, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import math
import random
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import harness
from harness import record as records
from harness import statistics, store
from harness.cli import main
from harness.pairs import SEED

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
MODELS = "count-bigram,mlp:steps=20,ngram:order=3,uniform"


def names(n: int, seed: int = 4) -> list[str]:
    """Names of 1 to 5 letters, one of them rare; the short ones stand in train and test."""
    rng = random.Random(seed)
    return [
        "".join(rng.choices("abcdef", weights=(5, 4, 3, 2, 1, 0.1), k=rng.randint(1, 5))) for _ in range(n)
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs of two texts, the latest of four models with two seeds each."""
    folder = tmp_path_factory.mktemp("made")
    for name, seed in (("other", 5), ("names", 4)):
        (folder / f"{name}.txt").write_text("\n".join(names(900, seed)) + "\n")
    for file, models, seeds in (
        ("other", "count-bigram", 1),
        ("names", "count-bigram:k=0,uniform", 1),
        ("names", MODELS, 2),
    ):
        harness.run(
            models,
            dataset=f"file:{folder}/{file}.txt",
            split="lecture",
            seeds=seeds,
            results=folder / "results",
            in_process=True,
        )
    return folder


@pytest.fixture(autouse=True)
def runs(made: Path, monkeypatch: pytest.MonkeyPatch) -> list[store.Run]:
    """The runs: another text, names without smoothing, names."""
    monkeypatch.setenv("HARNESS_RESULTS", str(made / "results"))
    return [store.read(path) for path in store.run_files(made / "results")]


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `harness compare` prints."""
    capsys.readouterr()
    assert main(["compare", *arguments]) == 0
    return capsys.readouterr().out


def found(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """The same as strict JSON."""
    out = printed(capsys, *arguments, "--json")
    return json.loads(out, parse_constant=lambda constant: pytest.fail(constant))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a mistake, exit 2."""
    capsys.readouterr()
    assert main(["compare", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"harness: [^\n]+\n", err)
    return err


def held_out() -> list[str]:
    """The test documents of the runs of `names`, in their order."""
    order = names(900)
    random.Random(42).shuffle(order)
    return order[810:]


def score_file(run: store.Run, model: str, name: str, add: float = 0.0) -> None:
    """A CSV of the first seed's stored scores, so much worse on every character."""
    arrays = run.scores(next(r for r in run.records if r.model == model))
    assert arrays is not None
    with Path(name).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["document", "nats", "targets"])
        for text, nats, targets in zip(held_out(), arrays["test_sums"], arrays["test_lengths"], strict=True):
            writer.writerow([text, repr(float(nats) + add * int(targets)), targets])


# ---- two models


def test_two_models_are_paired_on_the_stored_scores(
    capsys: pytest.CaptureFixture[str], runs: list[store.Run]
) -> None:
    """Difference, interval, both p, Holm and detectable effect are those of the stored scores."""
    (pair,) = found(capsys, "mlp #2", "ngram #1")["pairs"]
    chosen = {(r.model, r.repeat): runs[2].scores(r) or {} for r in runs[2].records}
    a, b = chosen["mlp", 1], chosen["ngram", 0]
    lengths, units = a["test_lengths"], a["test_units"]
    expected = statistics.paired(a["test_sums"], b["test_sums"], lengths, units)
    for field, value in {
        "difference": expected.nats,
        "half": expected.half,
        "se": expected.se,
        "p_t": expected.p,
        "detectable": expected.detectable,
        "units": len(set(units.tolist())),
        "new_best_from": 3.3 * (expected.se or 0.0),
    }.items():
        assert pair[field] == value
    apart, _ = statistics.clusters(a["test_sums"] - b["test_sums"], lengths, units)
    assert pair["p_sign_flip"] == statistics.sign_flip(apart, np.random.default_rng(SEED))
    assert pair["p"] == pair["p_holm"] == pair["p_sign_flip"]
    assert (pair["scope"], pair["rests_on_a"]) == ("checkpoint", "scored live")


def test_all_seeds_are_compared_and_fewer_where_asked(
    capsys: pytest.CaptureFixture[str], runs: list[store.Run]
) -> None:
    """By default all on record, `--seeds 1` the first; documents and seeds stand apart."""
    both = found(capsys, "mlp", "uniform")
    assert [one["seeds"] for one in both["models"]] == [2, 1]  # uniform draws nothing: it is run once
    assert both["pairs"][0]["scope"] == "2 checkpoints"
    mlp = [runs[2].scores(r) or {} for r in runs[2].records if r.model == "mlp"]
    nlls = [each["test_sums"].sum() / each["test_lengths"].sum() for each in mlp]
    assert both["pairs"][0]["se_seeds"] == pytest.approx(np.std(nlls, ddof=1) / math.sqrt(2))
    first = found(capsys, "mlp", "uniform", "--seeds", "1")
    assert first["pairs"][0]["scope"] == "checkpoint"
    assert first["pairs"][0]["se_seeds"] is None
    table = ["mlp", "uniform", "--format", "markdown"]
    assert "se seeds |" in printed(capsys, *table)
    assert "se seeds |" not in printed(capsys, *table, "--seeds", "1")


def test_seeds_that_are_not_on_record_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a model that draws; one that draws nothing needs no more."""
    notes = found(capsys, "mlp", "uniform", "--seeds", "5")["notes"]
    assert [note.partition(" of run")[0] for note in notes if "of 5 seeds" in note] == ["mlp@numpy:steps=20"]
    assert any(
        "2 of 5 seeds are on record and ok; harness run --seeds 5 makes more." in note for note in notes
    )


def test_the_verdict_stands_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    """Who is better, by how much, what the verdict speaks of, and what a new best would take."""
    out = printed(capsys, "ngram", "uniform")
    assert re.search(
        r"^ngram@numpy:order=3 is better than uniform@numpy by \.\d{4}±\.\d{4} nats per character. "
        r"Scope: method\.$",
        out,
        re.MULTILINE,
    )
    assert re.search(r"Holm: over the 1 test of this table", out)
    assert re.search(
        r"Test scores on record for this split: \d+\. After many looks .* from 3\.3 · se = \.\d{4} nats; "
        r"this difference is above it\.",
        out,
    )


def test_looks_are_those_of_the_folder(capsys: pytest.CaptureFixture[str], runs: list[store.Run]) -> None:
    """Records of this split with a test score, in all runs that are kept."""
    expected = store.looks(runs, runs[2].records[0].data.split_fingerprint)
    assert found(capsys, "mlp", "uniform")["looks"] == expected == len(runs[1].records + runs[2].records)


def test_seen_and_unseen_documents_stand_apart(
    capsys: pytest.CaptureFixture[str], runs: list[store.Run]
) -> None:
    """Differences and documents of each kind, by the stored marks."""
    result = found(capsys, "mlp", "ngram", "--documents", "3")
    arrays = runs[2].scores(runs[2].records[0]) or {}
    marks = [(each["which"], bool(arrays["test_seen"][each["index"]])) for each in result["documents"]]
    assert marks == [("unseen", False)] * 3 + [("seen", True)] * 3
    assert result["pairs"][0]["seen"] != result["pairs"][0]["unseen"]
    out = printed(capsys, "mlp", "ngram")
    assert out.index("Documents that differ most, unseen in train") < out.index("most, seen in train")


def test_documents_are_those_of_the_data_character_by_character(
    capsys: pytest.CaptureFixture[str], runs: list[store.Run]
) -> None:
    """Texts from the run's data; both models' −ln p of each character add up to the stored nats."""
    documents = found(capsys, "mlp", "ngram", "--documents", "4")["documents"]
    texts = held_out()
    assert all(each["text"] == texts[each["index"]] for each in documents)
    assert [each["characters"] is not None for each in documents] == [True, True, False, False] * 2
    for each in documents[:2]:
        assert "".join(one["character"] or "" for one in each["characters"]) == each["text"]
        assert each["characters"][-1]["character"] is None
        for side in "ab":
            assert sum(one[side] for one in each["characters"]) == pytest.approx(each[side], abs=1e-4)
    assert "By character: " in printed(capsys, "mlp", "ngram")


def test_no_documents_where_none_are_asked(capsys: pytest.CaptureFixture[str]) -> None:
    """`--documents 0`, and more than two models."""
    assert found(capsys, "mlp", "ngram", "--documents", "0")["documents"] == []
    assert found(capsys, "mlp", "ngram", "uniform")["documents"] == []


# ---- what an argument stands for


def test_several_models_are_all_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    """In the order of the arguments, with Holm over all of them; the models ranked, ties sharing one."""
    result = found(capsys, "uniform", "mlp", "ngram")
    pairs = [(pair["a"].partition("@")[0], pair["b"].partition("@")[0]) for pair in result["pairs"]]
    assert pairs == [("uniform", "mlp"), ("uniform", "ngram"), ("mlp", "ngram")]
    assert result["tests"] == 3
    assert [pair["p_holm"] for pair in result["pairs"]] == statistics.holm([p["p"] for p in result["pairs"]])
    nlls = [one["nll"] for one in result["models"]]
    assert nlls == sorted(nlls)
    assert [one["rank"] for one in result["models"]] in ([1, 1, 3], [1, 2, 3])  # the seed is the path's
    assert result["models"][-1]["name"] == "uniform@numpy"


def test_a_run_alone_is_all_its_models(capsys: pytest.CaptureFixture[str]) -> None:
    """`harness compare latest`: four models, six pairs."""
    result = found(capsys, "latest")
    assert len(result["pairs"]) == 6
    assert len(result["models"]) == 4


def test_runs_are_compared_by_the_models_they_share(
    capsys: pytest.CaptureFixture[str], runs: list[store.Run]
) -> None:
    """The same selection in two runs is a pair; names say which run, and the notes which that is."""
    first, second = runs[1].header.run_id, runs[2].header.run_id
    result = found(capsys, first, second)
    (pair,) = result["pairs"]
    assert (pair["a"], pair["b"]) == ("uniform@numpy [1]", "uniform@numpy [2]")
    assert (pair["verdict"], pair["better"]) == ("equal scores", None)
    assert [f"[1] run {first}", f"[2] run {second}"] == [note for note in result["notes"] if note[0] == "["]


def test_a_model_of_another_run_is_named_with_it(
    capsys: pytest.CaptureFixture[str], runs: list[store.Run]
) -> None:
    """RUN:MODEL, RUN an id, its start or a path, MODEL with its options; `--run` for names alone."""
    old, path = runs[1].header.run_id, str(runs[1].path)
    for name in (f"{old}:count-bigram:k=0", f"{old[:-2]}:count-bigram", f"{path}:count-bigram"):
        (pair,) = found(capsys, name, "count-bigram")["pairs"]
        assert (pair["a"], pair["b"]) == ("count-bigram@numpy:k=0 [1]", "count-bigram@numpy [2]")
    (pair,) = found(capsys, "count-bigram", "uniform", "--run", old)["pairs"]
    assert pair["a"] == "count-bigram@numpy:k=0"


def test_p_of_zero_has_a_verdict_without_a_figure(
    capsys: pytest.CaptureFixture[str], runs: list[store.Run]
) -> None:
    """A model without smoothing is inf, loses, and its documents are shown all the same."""
    arrays = runs[1].scores(runs[1].records[0]) or {}
    assert np.isinf(arrays["test_sums"]).any()
    old = runs[1].header.run_id
    result = found(capsys, "uniform", "count-bigram", "--run", old)
    assert (result["pairs"][0]["verdict"], result["pairs"][0]["difference"]) == ("A better: B is inf", None)
    assert result["documents"][0]["b"] is None
    out = printed(capsys, "uniform", "count-bigram", "--run", old)
    assert "uniform@numpy is better: count-bigram@numpy:k=0 gives p = 0 to a target." in out
    assert re.search(r"^2 +count-bigram@numpy:k=0 +inf ", out, re.MULTILINE)


# ---- files of scores


def test_a_file_is_compared_with_a_model(capsys: pytest.CaptureFixture[str], runs: list[store.Run]) -> None:
    """Paired on the run's test documents, its word shown as such; no character of it is known."""
    score_file(runs[2], "count-bigram", "theirs.csv", add=0.25)
    result = found(capsys, "count-bigram", "theirs.csv")
    (pair,) = result["pairs"]
    assert pair["difference"] == pytest.approx(-0.25)
    assert (pair["rests_on_a"], pair["rests_on_b"]) == ("scored live", "file of scores")
    assert (pair["a"], pair["b"]) == ("count-bigram@numpy [1]", "theirs.csv [2]")
    assert pair["unseen"] == pytest.approx(-0.25)
    assert all(each["characters"] is None for each in result["documents"])
    assert any("theirs.csv [2] is a file of scores, so they are shown per doc" in n for n in result["notes"])


def test_the_json_of_score_is_a_file_of_scores(
    capsys: pytest.CaptureFixture[str], runs: list[store.Run]
) -> None:
    """`harness score MODEL FILE --json` of two models, compared: the difference of the run's own NLLs."""
    Path("held.txt").write_text("\n".join(held_out()))
    for model in ("count-bigram", "ngram"):
        assert main(["score", model, "held.txt", "--json"]) == 0
        Path(f"{model}.json").write_text(capsys.readouterr().out)
    result = found(capsys, "count-bigram.json", "ngram.json")
    nll = {r.model: r.metrics.test_nll or 0.0 for r in runs[2].records if r.repeat == 0}
    assert result["pairs"][0]["difference"] == pytest.approx(nll["count-bigram"] - nll["ngram"])
    assert result["looks"] is None
    assert "A file does not say how often its documents were looked at." in "\n".join(result["notes"])


# ---- what is refused


def test_other_data_is_refused_with_both_hashes(
    capsys: pytest.CaptureFixture[str], runs: list[store.Run]
) -> None:
    """The first field that differs and its two values."""
    said = refused(capsys, f"{runs[0].header.run_id}:count-bigram", "count-bigram")
    mine, theirs = (run.records[0].data.dataset_sha256 for run in (runs[0], runs[2]))
    assert f"cannot be compared: dataset sha256: {mine} and {theirs}" in said


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("split_fingerprint", "split fingerprint: {old} and changed"),
        ("alphabet", "alphabet: 'abcdef' and 'changed'"),
        ("contract", "contract version: harness.contract/1 and changed"),
    ],
)
def test_each_field_that_differs_is_named(
    capsys: pytest.CaptureFixture[str], runs: list[store.Run], made: Path, field: str, said: str
) -> None:
    """A copy of the run with one field changed is refused by that field."""
    run = runs[2]
    copied = Path("copy") / run.path.name
    store.copy(run.path, copied)
    lines = []
    for line in copied.read_bytes().splitlines():
        kind, payload = store.decode_line(line)
        content = json.loads(payload)
        place = content.get("data", {}) if field != "contract" else content
        if field in place:
            place[field] = "changed"
        lines.append(store.encode_line(kind, json.dumps(content).encode()))
    copied.write_bytes(b"".join(lines))
    old = run.records[0].data.split_fingerprint
    assert said.format(old=old) in refused(capsys, "mlp", f"{copied}:mlp")


def test_other_documents_are_refused(capsys: pytest.CaptureFixture[str], runs: list[store.Run]) -> None:
    """A file against a model and against a file: the first document that differs, or their number."""
    score_file(runs[2], "ngram", "a.csv")
    lines = Path("a.csv").read_text().splitlines(keepends=True)
    Path("short.csv").write_text("".join(lines[:-1]))
    Path("other.csv").write_text("".join([*lines[:2], re.sub("^[a-f]+", "zz", lines[2]), *lines[3:]]))
    Path("text.json").write_text('{"kind": "text", "documents": [{"text": "a", "targets": 1, "nats": 1}]}')
    count, second = len(lines) - 1, lines[2].partition(",")[0]
    for first in ("a.csv", "ngram"):
        assert f"documents: {count} and {count - 1}" in refused(capsys, first, "short.csv")
        assert f"document 2: '{second}' and 'zz'" in refused(capsys, first, "other.csv")
        assert "kind: lines and text" in refused(capsys, first, "text.json")


def test_a_file_against_a_run_whose_data_is_gone(
    capsys: pytest.CaptureFixture[str], runs: list[store.Run], made: Path
) -> None:
    """It cannot be known to be scores of the same documents; two models are still compared, by number."""
    score_file(runs[2], "ngram", "a.csv")
    shutil.move(made / "names.txt", made / "gone.txt")
    try:
        said = refused(capsys, "ngram", "a.csv")
        result = found(capsys, "ngram", "uniform")
        out = printed(capsys, "ngram", "uniform")
    finally:
        shutil.move(made / "gone.txt", made / "names.txt")
    assert "cannot be compared with a file of scores, its documents are not to be had" in said
    assert {each["text"] for each in result["documents"]} == {None}
    assert re.search(r"^document \d+ ", out, re.MULTILINE)
    assert "Documents are shown by their number in the test part: " in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Missing argument"),
        (["mlp"], "compare needs two at least"),
        (["mlp", "mpl"], "no model 'mpl' in run"),
        (["mlp", "mlp"], "stands twice: nothing to compare"),
        (["mlp", "latest"], "latest is a whole run: it is compared with runs"),
        (["mlp", "absent.json"], "absent.json: no such file"),
        (["mlp", "ngram", "--seeds", "0"], "'--seeds'"),
        (["mlp", "ngram", "--json", "--format", "csv"], "--json and --format csv contradict each other"),
        (["mlp", "ngram", "--run", "absent"], "no run starts with 'absent'"),
    ],
)
def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    """Exit 2, nothing on stdout, and what is wrong."""
    assert said in refused(capsys, *arguments)


def test_runs_that_share_no_model_say_what_they_hold(
    capsys: pytest.CaptureFixture[str], runs: list[store.Run]
) -> None:
    """Both lists, and how to name one of them."""
    one, two = (run.header.run_id for run in runs[:2])
    said = refused(capsys, one, two)
    assert f"{one} holds count-bigram@numpy; {two} holds count-bigram@numpy:k=0, uniform@numpy" in said
    assert "RUN:MODEL" in said


def test_scores_that_are_gone_are_exit_6(capsys: pytest.CaptureFixture[str], runs: list[store.Run]) -> None:
    """A model that drops out of a table without a word would leave its rank to another."""
    store.copy(runs[2].path, Path("copy.jsonl"))
    gone = next(r for r in runs[2].records if r.model == "uniform")
    (store.side_folder(Path("copy.jsonl")) / str(gone.scores)).unlink()
    for arguments in (["copy.jsonl:uniform", "copy.jsonl:mlp"], ["copy.jsonl"]):
        assert main(["compare", *arguments]) == 6
        assert f"{gone.scores!a} is not there, and cell {gone.cell} names it" in capsys.readouterr().err


def test_scores_that_were_not_kept_are_said(
    capsys: pytest.CaptureFixture[str], runs: list[store.Run]
) -> None:
    """A run file alone, without its folder, cannot be compared."""
    store.copy(runs[2].path, Path("copy.jsonl"))
    shutil.rmtree(store.side_folder(Path("copy.jsonl")))
    assert "they were not kept" in refused(capsys, "copy.jsonl:uniform", "copy.jsonl:mlp")


def test_a_run_that_lost_a_line_is_compared_and_exit_6(
    capsys: pytest.CaptureFixture[str], runs: list[store.Run]
) -> None:
    """What remains is shown; that it is not all is the exit code."""
    store.copy(runs[2].path, Path("copy.jsonl"))
    lines = Path("copy.jsonl").read_bytes().splitlines(keepends=True)
    Path("copy.jsonl").write_bytes(b"".join([lines[0], lines[1][:-9] + b"x" + lines[1][-8:], *lines[2:]]))
    assert main(["compare", "copy.jsonl"]) == 6
    printed = capsys.readouterr()
    assert "line 2: damaged and left out" in printed.err
    assert "copy" in printed.out or "mlp" in printed.out


def test_damaged_scores_are_exit_6(capsys: pytest.CaptureFixture[str], runs: list[store.Run]) -> None:
    """The store is damaged, which is no mistake of the user's, of one model and of a whole run."""
    store.copy(runs[2].path, Path("copy.jsonl"))
    one = next(r for r in runs[2].records if r.model == "uniform")
    (store.side_folder(Path("copy.jsonl")) / str(one.scores)).write_bytes(b"PK")
    for arguments in (["copy.jsonl:uniform", "mlp"], ["copy.jsonl"]):
        assert main(["compare", *arguments]) == 6
        assert "damaged" in capsys.readouterr().err


def test_scores_that_were_changed_are_exit_6(
    capsys: pytest.CaptureFixture[str], runs: list[store.Run]
) -> None:
    """Readable and better than they were: their checksum, which the record names, does not hold."""
    store.copy(runs[2].path, Path("copy.jsonl"))
    one = next(r for r in runs[2].records if r.model == "uniform")
    file = store.side_folder(Path("copy.jsonl")) / str(one.scores)
    arrays = dict(np.load(file))
    np.savez(file, **arrays | {"test_sums": arrays["test_sums"] * 0.5})
    assert main(["compare", "copy.jsonl:uniform", "copy.jsonl:mlp"]) == 6
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"harness: {file}: damaged (the checksum does not hold)\n"


def test_without_parameters_documents_stay_whole(
    capsys: pytest.CaptureFixture[str], runs: list[store.Run]
) -> None:
    """The side files of parameters are not committed: per document only, and it says so."""
    store.copy(runs[2].path, Path("copy.jsonl"))
    for path in store.side_folder(Path("copy.jsonl")).iterdir():
        if path.name in {str(r.params) for r in runs[2].records}:
            path.unlink()
    result = found(capsys, "copy.jsonl:mlp", "copy.jsonl:uniform")
    assert all(each["text"] and each["characters"] is None for each in result["documents"])
    assert any(
        "not taken apart into characters: the parameters of mlp@numpy:steps=20 were not kept" in note
        for note in result["notes"]
    )


def test_a_model_that_scores_otherwise_now_is_not_taken_apart(
    capsys: pytest.CaptureFixture[str], runs: list[store.Run]
) -> None:
    """Where the parameters give other figures than the run has, no character is shown."""
    writer = store.Writer(Path("copy.jsonl"), runs[2].header)
    for record in runs[2].records:
        writer.cell(msgspec.structs.replace(record))  # names no checksums
    writer.close()
    folder = shutil.copytree(store.side_folder(runs[2].path), store.side_folder(Path("copy.jsonl")))
    by_name = {r.model: r for r in runs[2].records if r.repeat == 0}
    shutil.copyfile(folder / str(by_name["mlp"].params), folder / "kept")
    with np.load(folder / "kept") as arrays:
        changed = {name: values * 0 for name, values in arrays.items()}
    with (folder / str(by_name["mlp"].params)).open("wb") as file:
        np.savez(file, **changed)
    notes = found(capsys, "copy.jsonl:mlp #1", "copy.jsonl:uniform")["notes"]
    assert any(re.search(r"mlp.* now gives \d+\.\d+ nats where its run has \d", note) for note in notes)


# ---- formats


def test_every_format_holds_the_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    """CSV to the last bit as JSON has it; Markdown and LaTeX with the notes."""
    result = found(capsys, "mlp", "ngram", "uniform")
    rows = list(csv.DictReader(io.StringIO(printed(capsys, "mlp", "ngram", "uniform", "--format", "csv"))))
    assert [float(row["difference"]) for row in rows] == [pair["difference"] for pair in result["pairs"]]
    assert [row["verdict"] for row in rows] == [pair["verdict"] for pair in result["pairs"]]
    markdown = printed(capsys, "mlp", "ngram", "--format", "markdown")
    latex = printed(capsys, "mlp", "ngram", "--format", "latex")
    for out in (markdown, latex):
        assert "Holm: over the 1 test of this table." in out
        assert "By character: " in out
    titles = re.findall(r"^(By character: \w+)$", printed(capsys, "mlp", "ngram"), re.MULTILINE)
    assert len(titles) == 4
    assert all(f"{title}\n" in markdown and f"caption{{{title}}}" in latex for title in titles)


# ---- what a row rests on


def test_a_record_says_what_it_rests_on(runs: list[store.Run]) -> None:
    """`scored live`, and an old record that does not say so was."""
    import msgspec

    one = runs[2].records[0]
    assert one.rests_on == "scored live"
    old = {k: v for k, v in msgspec.to_builtins(one).items() if k != "rests_on"}
    assert msgspec.convert(old, records.Record).rests_on == "scored live"


def test_show_has_a_column_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    """`--columns rests-on`."""
    assert main(["show", "--columns", "model,rests-on", "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith(",scored live")


# ---- README


def test_the_commands_of_the_readme(capsys: pytest.CaptureFixture[str], runs: list[store.Run]) -> None:
    """README's comparisons work as they stand."""
    block = re.search(r"<!-- compare -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert block
    score_file(runs[2], "mlp", "theirs.csv", add=0.01)
    for line in block[1].splitlines():
        words = shlex.split(line, comments=True)
        assert words[:2] == ["harness", "compare"]
        assert printed(capsys, *words[2:])
