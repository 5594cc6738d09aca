"""tools.soak: what it counts, writes and says; and that SECURITY.md has what was measured."""

import json
from pathlib import Path

import pytest

from tools import soak
from tools.attacks.outcome import Outcome
from tools.marks import marks, with_part

MEASURED = json.loads(soak.RESULT.read_text(encoding="utf-8"))


def test_the_document_has_what_was_measured():
    document = soak.DOCUMENT.read_text(encoding="utf-8")
    assert with_part(document, "soak", soak.section(MEASURED)) == document


def test_what_was_measured_are_parts_in_their_order():
    assert list(MEASURED) == [part for part in soak.PARTS if part in MEASURED]


def test_an_attempt_that_fails_is_harm_and_the_next_one_counts():
    outcome = Outcome("knocks")
    for number in range(3):
        with outcome.attempt(f"knock {number}"):
            if number == 1:
                raise AssertionError("it gave way")
    assert (outcome.tried, outcome.harm) == (3, ["knock 1: it gave way"])
    assert outcome.slowest < 1


def test_a_defect_of_the_attack_itself_is_not_taken_for_harm():
    with pytest.raises(KeyError), Outcome("knocks").attempt("knock"):
        raise KeyError


@pytest.fixture
def frame(tmp_path, monkeypatch):
    """Two parts, and a document of their own."""

    def attacks(folder):
        assert list(Path(folder).iterdir()) == []
        yield Outcome("knocks", tried=1000, slowest=1.25, memory=2_000_000, notes={"open": 3})

    def harmful(_):
        yield Outcome("blows", tried=1, harm=["blow 0: it gave way"])

    monkeypatch.setattr(soak, "PARTS", {"doors": attacks, "walls": harmful})
    for name, path in (("RESULT", "soak.json"), ("DOCUMENT", "SECURITY.md")):
        monkeypatch.setattr(soak, name, tmp_path / path)
    start, end = marks("soak")
    soak.DOCUMENT.write_text(f"before\n{start}\n\n{end}\nafter\n")


def test_outcomes_are_printed_kept_and_tabled(frame, capsys):
    assert soak.main(["doors"]) == 0
    assert (
        "knocks: tried 1000, harm 0, open 3, slowest 1.2 s, memory 2 MB" in capsys.readouterr().out
    )
    document = soak.DOCUMENT.read_text()
    assert "| doors | knocks | 1,000 | 0 | 1.2 s | 2 MB | open 3 |" in document
    assert (document.startswith("before"), document.endswith("after\n")) == (True, True)


def test_harm_is_told_and_the_status_is_not_0_and_other_figures_stay(frame, capsys):
    soak.main(["doors"])
    assert soak.main(["walls"]) == 1
    assert "blow 0: it gave way" in capsys.readouterr().out
    assert list(json.loads(soak.RESULT.read_text())) == ["doors", "walls"]
    assert "| walls | blows | 1 | 1 |" in soak.DOCUMENT.read_text()


def test_a_part_that_there_is_not_is_refused(frame, capsys):
    with pytest.raises(SystemExit) as stop:
        soak.main(["roofs"])
    assert stop.value.code == 2
    assert "there is no part roofs; the parts are doors, walls" in capsys.readouterr().err
