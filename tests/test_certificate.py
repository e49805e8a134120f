"""`harness audit`: lines as they come, exit codes, and the certificate that `run` and `list models` show."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness import audit, certificate, registry, selection, store
from harness.certificate import Finding
from harness.cli import main
from harness.corpus import Alphabet
from harness.dataset import Dataset
from harness.errors import StoreError
from harness.record import Audit
from harness.subject import Subject

PROMISES = Path(__file__).parent / "promises.py"
DATA = ["--dataset", "markov:documents=300,vocab=6"]
QUICK = ["--check", "alphabet", "--check", "seed honoured"]
FINDINGS = [Finding("causal", "pass", "32 documents"), Finding("context", "n/a", "unbounded")]


def choice(model: str = "honest") -> selection.Choice:
    """One of the models of promises.py."""
    return selection.one(registry.discover([PROMISES], guard_files=False), model)


def command(*words: str) -> int:
    """`harness audit` on the small source."""
    return main(["audit", "--plugin", str(PROMISES), *DATA, *words])


# ---- the store


def test_a_certificate_is_found_again(tmp_path: Path) -> None:
    """What was written for a choice is what is read for it, and nothing before."""
    assert certificate.find(tmp_path, choice()) is None
    path = certificate.write(tmp_path, certificate.certify(choice(), FINDINGS, seed=3))
    assert path.parent == tmp_path / "certificates"
    kept = certificate.find(tmp_path, choice())
    assert kept is not None
    assert (kept.findings, kept.seed) == (FINDINGS, 3)
    assert [each.name for each in path.parent.iterdir()] == [path.name]  # nothing half-written is left


@pytest.mark.parametrize("other", ["steady", "mlp", "mlp@scalar", "mlp:hidden=5"])
def test_a_certificate_is_of_one_choice(tmp_path: Path, other: str) -> None:
    """Another model, backend or configuration is not audited by it."""
    certificate.write(tmp_path, certificate.certify(choice("mlp:hidden=4"), FINDINGS))
    assert certificate.find(tmp_path, choice("mlp:hidden=4")) is not None
    assert certificate.find(tmp_path, choice(other)) is None


def test_changed_code_is_not_audited(tmp_path: Path) -> None:
    """One byte in the plugin's file, and the certificate no longer counts; back again, it does."""
    file = tmp_path / "mine.py"
    file.write_bytes(PROMISES.read_bytes())

    def found() -> certificate.Certificate | None:
        mine = selection.one(registry.discover([file], guard_files=False), "honest")
        return certificate.find(tmp_path, mine)

    mine = selection.one(registry.discover([file], guard_files=False), "honest")
    certificate.write(tmp_path, certificate.certify(mine, FINDINGS))
    assert found() is not None
    file.write_bytes(PROMISES.read_bytes() + b"\n")
    assert found() is None
    file.write_bytes(PROMISES.read_bytes())
    assert found() is not None


def test_a_certificate_of_other_data_says_so(tmp_path: Path) -> None:
    """That of a run's own data comes first, however old; else the newest, with its data; no other is lost."""

    def kept(name: str, content: str, passed: int, day: int) -> certificate.Certificate:
        sha256 = data(name, content).sha256
        findings = [Finding(f"check {n}", "pass") for n in range(passed)]
        made = certificate.certify(choice(), findings, dataset=name, dataset_sha256=sha256)
        made.created = f"2026-10-0{day}T08:00:00+00:00"
        certificate.write(tmp_path, made)
        return made

    def data(name: str, content: str) -> Dataset:
        return Dataset(
            name, "lines", Alphabet("abc"), (content,), sha256_of(content), "", "", "all", len(content)
        )

    def sha256_of(content: str) -> str:
        return hashlib.sha256(content.encode()).hexdigest()

    def shown(name: str, content: str) -> tuple[int, str]:
        mine = data(name, content)
        found = certificate.find(tmp_path, choice(), mine)
        assert found is not None
        audit = found.audit_for(mine)
        return audit.passed, audit.elsewhere

    kept("names", "abc", passed=1, day=1)
    kept("file:mine.txt", "cab", passed=2, day=2)
    assert shown("names", "abc") == (1, "")
    assert shown("file:mine.txt", "cab") == (2, "")
    assert shown("file:mine.txt", "changed") == (2, "an earlier file:mine.txt")
    assert shown("markov", "aaa") == (2, "file:mine.txt")


def test_mended_checks_make_a_certificate_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another code of harness has found no longer counts."""
    certificate.write(tmp_path, certificate.certify(choice(), FINDINGS))
    monkeypatch.setattr(certificate, "own_code", lambda: "mended")
    assert certificate.find(tmp_path, choice()) is None


@pytest.mark.parametrize("name", ["CONTRACT", "VERSION"])
def test_another_contract_or_version_of_the_checks_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What was promised or looked for then is not what is now."""
    made = certificate.certify(choice(), FINDINGS)
    if name == "CONTRACT":
        made.contract = "harness.contract/0"
    else:
        made.checks = certificate.VERSION - 1
    certificate.write(tmp_path, made)
    assert certificate.find(tmp_path, choice()) is None


def test_a_member_s_code_counts(tmp_path: Path) -> None:
    """A mixture is audited with what it holds."""
    mixed = choice("mixture:of=count-bigram+honest")
    assert len(certificate.certify(mixed, FINDINGS).code) == 3
    changed = replace(mixed, members=mixed.members[:1])
    assert certificate.certify(changed, FINDINGS).key != certificate.certify(mixed, FINDINGS).key


@pytest.mark.parametrize("content", [b"", b"{", b'{"schema": 1}', b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_certificate_is_named(tmp_path: Path, content: bytes) -> None:
    """It raises one line with the file; whoever asked goes on without it."""
    path = certificate.write(tmp_path, certificate.certify(choice(), FINDINGS))
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged certificate, ignored"):
        certificate.find(tmp_path, choice())


def test_a_certificate_under_another_name_is_of_something_else(tmp_path: Path) -> None:
    """Renaming a certificate makes no other model audited."""
    path = certificate.write(tmp_path, certificate.certify(choice(), FINDINGS))
    other = certificate.certify(choice("peeks"), FINDINGS).key
    path.rename(path.with_name(f"{other}.json"))
    with pytest.raises(StoreError, match="of something else"):
        certificate.find(tmp_path, choice("peeks"))


def test_an_audit_in_brief() -> None:
    """What passed is counted, what failed is named, what does not apply is neither."""
    findings = [*FINDINGS, Finding("stateless", "fail", "moved")]
    made = certificate.certify(choice(), findings)
    made.created = "2026-10-03T08:00:00+00:00"
    assert made.audit == Audit(date="2026-10-03", passed=1, failed=["stateless"], not_applicable=1)


# ---- the verb


@pytest.fixture
def two_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """An audit of two checks that ask no process: `peeks` fails the first."""

    def causal(subject: Subject) -> Finding:
        peeks = subject.choice.spec.name == "peeks"
        return Finding("causal", "fail" if peeks else "pass", "T=1, row 0" if peeks else "32 documents")

    checks = {"causal": causal, "alphabet": lambda _: Finding("alphabet", "pass", "V = 7; all, of it")}
    monkeypatch.setattr(audit, "CHECKS", checks)


def test_a_line_a_check_and_exit_code_0(capsys: pytest.CaptureFixture[str]) -> None:
    """`NAME: outcome – text` on stdout in the certificate's order; how long each took on stderr."""
    assert command("honest", *QUICK) == 0
    out, err = capsys.readouterr()
    assert [line.partition(" – ")[0] for line in out.splitlines()] == [
        "alphabet: pass",
        "seed honoured: pass",
    ]
    assert "[2/2] seed honoured  " in err
    assert "2 of 2 checks passed; certificate: not kept, only some checks were made" in err
    assert not Path("results").exists()


@pytest.mark.usefixtures("two_checks")
def test_a_failure_is_exit_code_5(capsys: pytest.CaptureFixture[str]) -> None:
    """Several models have a heading each, and all are audited; the last line names what failed."""
    assert command("peeks,honest", "--check", "causal") == 5
    out, err = capsys.readouterr()
    assert "peeks@numpy: 0 of 1 checks passed; failed: causal; certificate: not kept" in err
    assert "honest@numpy: 1 of 1 checks passed; certificate: not kept" in err
    lines = out.splitlines()
    assert lines[0] == "peeks@numpy"
    assert lines[1].startswith("causal: fail – ")
    assert lines[2:4] == ["", "honest@numpy"]
    assert lines[4].startswith("causal: pass – ")


def test_an_interrupted_audit_claims_no_cells(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 130 and one line: an audit stores nothing before it is done."""

    def interrupted(subject: Subject) -> Finding:
        raise KeyboardInterrupt

    monkeypatch.setattr(audit, "CHECKS", {"causal": interrupted})
    assert command("honest") == 130
    assert capsys.readouterr().err.splitlines()[-1] == "harness: interrupted"
    assert not Path("results").exists()


@pytest.mark.usefixtures("two_checks")
def test_a_model_that_cannot_run_here_is_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    """With the reason; 3 where nothing could be audited."""
    assert command("absent", "--check", "causal") == 3
    assert "skipped: no_such_module is not installed" in capsys.readouterr().out
    assert command("absent", "honest", "--check", "alphabet") == 0


def test_a_limit_of_time_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """A model that hangs does not hang the audit."""
    assert command("hangs", "--check", "causal", "--timeout", "2s") == 5
    assert "causal: fail – not done after 2 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nosuch"], "unknown model 'nosuch'"),
        (["honest", "--check", "casual"], "unknown check 'casual'; did you mean 'causal'?"),
        (["honest", "--timeout", "soon"], "'soon' is no time"),
        (["honest", "--split", "contiguous"], "split contiguous needs running text"),
        (["honest", "--json", "--format", "csv"], "--json and --format csv contradict each other"),
        ([], "Missing argument 'MODEL...'"),
    ],
)
def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    """Exit 2, before anything has run."""
    assert command(*words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.usefixtures("two_checks")
def test_every_format_has_the_same_findings(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON, CSV, Markdown and LaTeX, printed when all is done."""
    said = {}
    for form in ("json", "csv", "markdown", "latex"):
        assert command("honest", "absent", "--check", "alphabet", "--format", form) == 0
        said[form] = capsys.readouterr().out
    audited, skipped = json.loads(said["json"])["audits"]
    (finding,) = audited["findings"]
    assert finding == {"check": "alphabet", "outcome": "pass", "text": "V = 7; all, of it"}
    assert audited["certificate"] is None
    assert skipped["skipped"].startswith("no_such_module")
    assert said["csv"].splitlines()[:2] == [
        "model,check,outcome,text",
        'honest@numpy,alphabet,pass,"V = 7; all, of it"',
    ]
    assert re.search(r"\| honest@numpy +\| alphabet +\| pass +\| V = 7; all, of it +\|", said["markdown"])
    assert "honest@numpy & alphabet & pass" in " ".join(said["latex"].split())


# ---- where it is shown


@pytest.mark.usefixtures("two_checks")
def test_run_and_list_show_the_certificate(capsys: pytest.CaptureFixture[str]) -> None:
    """Passed with its date, failed with a warning, or not audited; in the record, a column and a note."""
    assert command("honest") == 0
    assert command("peeks") == 5
    capsys.readouterr()
    plugin = ["--plugin", str(PROMISES)]
    main(["run", *plugin, *DATA, "--models", "honest,peeks,steady", "--columns", "model,audit,status"])
    table = capsys.readouterr().out
    lines = table.partition("\n\nNLL")[0].splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines if "@numpy " in line[:16]}
    assert rows["honest@numpy"] == ["2/2", "ok"]
    assert rows["steady@numpy"] == ["–", "ok"]
    assert rows["peeks@numpy"][:2] == ["failed:", "causal"]
    assert "Audit: passed 2/2: honest@numpy; not audited: steady@numpy." in table
    assert "WARNING peeks@numpy failed its audit (20" in table
    main(["run", *plugin, "--dataset", "markov:documents=200,vocab=6", "--models", "honest,peeks"])
    table = " ".join(capsys.readouterr().out.split())
    where = "markov:order=1,vocab=6,seed=0,documents=300"
    assert f"passed 2/2 on {where}: honest@numpy" in table
    assert f"WARNING peeks@numpy failed its audit on {where} (20" in table
    main(["list", "models", *plugin, "--json"])
    listed = {row["model"]: row["audit"] for row in json.loads(capsys.readouterr().out) if row["model"]}
    assert re.fullmatch(f"passed 2/2 20[0-9-]+ on {where}", listed["honest"])
    assert listed["peeks"].startswith("failed 20")
    assert listed["peeks"].endswith(": causal")
    assert listed["steady"] == "not audited"
    run, _ = sorted(store.run_files(Path("results")), key=lambda path: -len(store.read(path).records))
    assert [None if r.audit is None else r.audit.passed for r in store.read(run).records] == [2, 1, None]


@pytest.mark.usefixtures("two_checks")
def test_a_damaged_certificate_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    """`run` and `list models` say so and go on; the next audit replaces it."""
    assert command("honest") == 0
    (path,) = Path("results/certificates").iterdir()
    path.write_text("{")
    plugin = ["--plugin", str(PROMISES)]
    assert main(["run", *plugin, *DATA, "--models", "honest"]) == 0
    assert "damaged certificate, ignored" in capsys.readouterr().err
    assert main(["list", "models", *plugin]) == 0
    assert "damaged certificate, ignored" in capsys.readouterr().err
    assert command("honest") == 0
    assert certificate.find(Path("results"), choice()) is not None


@pytest.mark.usefixtures("two_checks")
def test_a_table_without_certificates_says_nothing_of_audits(capsys: pytest.CaptureFixture[str]) -> None:
    """The default table is as narrow as before."""
    main(["run", *DATA, "--models", "uniform"])
    assert "udit" not in capsys.readouterr().out


@pytest.mark.usefixtures("two_checks")
def test_a_folder_that_cannot_be_written_is_exit_code_6(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the certificate cannot be kept the command says so."""
    (tmp_path / "results").write_text("a file")
    assert command("honest", "--results", str(tmp_path / "results" / "below")) == 6
    assert "below/certificates" in capsys.readouterr().err
