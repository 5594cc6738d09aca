"""The examples are there, can be read, and are credited."""

from captioning.app.examples import examples
from captioning.data.images import read_photo


def test_every_example_is_a_photograph_with_a_credit():
    found = examples()
    assert len(found) == 4
    for example in found:
        assert min(read_photo(example.path).size) >= 300
        assert example.credit.endswith(("CC0", "public domain"))
    assert len({example.title for example in found}) == 4


def test_without_their_package_there_are_none(monkeypatch):
    monkeypatch.setattr("captioning.app.examples.find_spec", lambda name: None)
    assert examples() == []
