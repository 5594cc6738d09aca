"""Tables hold what the records hold, as other programs read them."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioning.batch.tables import CSV_COLUMNS, require_table, write_table
from captioning.errors import MissingPackageError, SettingError

RECORDS = [
    {"file": "a.jpg", "caption": "a dog, running", "confidence": 0.5, "warning": None},
    {"file": 'quote".jpg', "caption": "two\nlines", "confidence": 0.25, "warning": "odd"},
    {"file": "a  b\u202f.jpg ", "caption": "", "confidence": 0.1, "warning": None},
    {"file": "cut.jpg", "error": "cut.jpg is damaged"},
    {
        "file": "latin\udce9.jpg",
        "caption": "x",
        "confidence": 1.0,
        "words": [{"word": "x", "probability": 0.5, "x": 0.5, "y": 0.25, "evidence": {"nats": 1}}],
    },
]


def read_csv(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_csv_has_a_row_for_each_record(tmp_path):
    write_table(tmp_path / "captions.csv", RECORDS)
    rows = read_csv(tmp_path / "captions.csv")
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [row["image"] for row in rows[:4]] == [record["file"] for record in RECORDS[:4]]
    assert rows[4]["image"] == "latin\\udce9.jpg"
    assert [row["caption"] for row in rows] == ["a dog, running", "two lines", "", "", "x"]
    assert [row["error"] for row in rows] == ["", "", "", "cut.jpg is damaged", ""]
    assert rows[1]["warning"] == "odd"


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)))
def test_names_are_not_changed(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("tables") / "captions.csv"
    write_table(path, [{"file": name, "caption": "a dog"} for name in names])
    assert [row["image"] for row in read_csv(path)] == names


def test_parquet_has_a_row_for_each_record(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    write_table(tmp_path / "captions.parquet", iter(RECORDS * 500))  # more than are written at once
    rows = parquet.read_table(tmp_path / "captions.parquet").to_pylist()
    assert len(rows) == 2500
    assert rows[1] | {"words": None} == RECORDS[1] | {"error": None, "words": None}
    assert rows[3]["error"] == "cut.jpg is damaged"
    assert rows[4]["words"] == [{"word": "x", "probability": 0.5, "x": 0.5, "y": 0.25}]


def test_other_kinds_are_refused(tmp_path):
    with pytest.raises(SettingError, match=r"\.jsonl, \.csv or \.parquet"):
        require_table(tmp_path / "captions.xlsx")


def test_parquet_without_its_package_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingPackageError, match="pip install pyarrow"):
        require_table(tmp_path / "captions.parquet")
