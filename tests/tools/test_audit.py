"""tools.audit: what counts as a hole, and that silence is not taken for health."""

import subprocess
from types import SimpleNamespace

import pytest

from captioning.errors import CaptioningError
from tools import audit
from tools.attacks import dependencies
from tools.audit import Findings, answers, by_hand, by_pypi


def vulnerability(*names, fixed=()):
    return {"id": names[0], "aliases": list(names[1:]), "fix_versions": list(fixed)}


def package(name, *vulns):
    return {"name": name, "version": "1.0", "vulns": list(vulns)}


def test_a_hole_counts_unless_it_is_explained():
    found = by_hand({"pillow": "12.2.0", "torch": "2.10.0", "Pillow_Heif": "1.8.1", "anyio": "4.0"})
    assert found.packages == 3  # nobody has looked at the fourth
    assert {text.split(":")[0] for text in found.open} == {"pillow 12.2.0"}
    assert {text.split()[0] for text in found.explained} >= {"torch", "Pillow_Heif"}


def test_pypis_holes_count_unless_the_list_explains_them_for_the_same_package():
    explained = vulnerability("PYSEC-2026-139", "CVE-2026-4538")
    content = {"dependencies": [package("torch", explained), package("numpy", explained)]}
    found = answers(content, asked=2)
    assert found.explained == ["torch 1.0: PYSEC-2026-139, fixed in no version"]
    assert found.open == ["numpy 1.0: PYSEC-2026-139, fixed in no version"]


def test_a_hole_that_reaches_us_counts_though_the_list_knows_it():
    vuln = vulnerability("GHSA-63cw-57p8-fm3p", fixed=["2.10.0"])
    found = answers({"dependencies": [package("torch", vuln)]}, asked=1)
    assert found.open == ["torch 1.0: GHSA-63cw-57p8-fm3p, fixed in 2.10.0"]


def test_a_package_that_was_not_found_is_not_taken_for_clean():
    content = {"dependencies": [{"name": "pillow", "skip_reason": "not found"}, package("numpy")]}
    found = answers(content, asked=2)
    assert (found.open, found.unanswered) == ([], ["pillow"])


def test_pip_audit_is_asked_for_exactly_these_versions(monkeypatch):
    seen = []

    def run(command, **_):
        path = command[command.index("-r") + 1]
        with open(path) as file:
            seen.append((command[1:3], file.read()))
        return SimpleNamespace(stdout='{"dependencies": []}', stderr="", returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    assert by_pypi({"numpy": "2.0", "torch": "2.10"}) == Findings(2)
    assert seen == [(["-m", "pip_audit"], "numpy==2.0\ntorch==2.10\n")]


def test_a_service_out_of_reach_is_one_sentence(monkeypatch):
    done = SimpleNamespace(stdout="", stderr="Traceback\nno route to host\n", returncode=1)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(CaptioningError, match="did not finish: no route to host"):
        by_pypi({"numpy": "2.0"})


@pytest.mark.parametrize(
    ("ours", "theirs", "status"),
    [
        (Findings(1), Findings(1), 0),
        (Findings(1), Findings(1, explained=["known"]), 0),
        (Findings(1, open=["hole"]), Findings(1), 1),
        (Findings(1), Findings(1, open=["hole"]), 1),
        (Findings(1), Findings(1, unanswered=["numpy"]), 2),
        (Findings(1, open=["hole"]), Findings(1, unanswered=["numpy"]), 1),
    ],
)
def test_the_status_says_whether_anything_counts(monkeypatch, capsys, ours, theirs, status):
    monkeypatch.setattr(audit, "installed", lambda folder: {"numpy": "2.0"})
    monkeypatch.setattr(audit, "by_hand", lambda versions: ours)
    monkeypatch.setattr(audit, "by_pypi", lambda versions, *options: theirs)
    assert audit.main([".venv"]) == status
    printed = capsys.readouterr().out
    assert ("hole: hole" in printed) == (status == 1)
    assert ("did not answer for 1" in printed) == bool(theirs.unanswered)


def test_an_unanswered_question_is_not_counted_as_tried(monkeypatch):
    def out_of_reach(versions):
        raise CaptioningError("no route to host")

    outcome = dependencies.asked("packages", out_of_reach, {"numpy": "2.0"})
    assert (outcome.tried, outcome.harm, outcome.notes) == (0, [], {"unanswered": 1})
    partly = Findings(3, open=["hole"], unanswered=["a", "b"])
    outcome = dependencies.asked("packages", lambda versions: partly, {})
    assert (outcome.tried, outcome.harm) == (1, ["hole"])
