"""Manners of captions by the names of photographs."""

from pathlib import Path

import pytest

from captioning.data.caption_files import Photograph
from captioning.data.manners import MannerRule, set_manners
from captioning.errors import SettingError


def photographs(*names):
    return tuple(Photograph(name, Path(name), ("a dog",)) for name in names)


@pytest.mark.parametrize(
    ("text", "rule"),
    [("web_*=web", ("web_*", "web")), ("a=b*=poem", ("a=b*", "poem")), ("*=x", ("*", "x"))],
)
def test_a_rule_is_a_pattern_and_a_word(text, rule):
    assert MannerRule.parse(text) == rule


@pytest.mark.parametrize(
    "text", ["", "web", "=web", "web_*=", "web_*=Web", "w*=two words", "w=unk"]
)
def test_a_malformed_rule_is_refused(text):
    with pytest.raises(SettingError, match="--manner must be GLOB=NAME"):
        MannerRule.parse(text)


@pytest.mark.parametrize(
    ("pattern", "name", "applies"),
    [
        ("web_*", "web_1.webp", True),
        ("web_*", "Web_1.webp", False),
        ("web_*", "my_web_1.webp", False),
        ("*.png", "a/b.png", True),
        ("[ab]?.jpg", "b7.jpg", True),
    ],
)
def test_a_pattern_matches_whole_names_as_they_are_written(pattern, name, applies):
    assert MannerRule(pattern, "web").applies_to(name) == applies


def test_the_first_rule_that_applies_counts_in_every_set():
    rules = [MannerRule("web1*", "news"), MannerRule("web*", "web")]
    sets = set_manners([photographs("web1.jpg", "web2.jpg", "a.jpg"), photographs("web3")], rules)
    manners = [[(photo.name, photo.manner) for photo in each] for each in sets]
    assert manners == [
        [("web1.jpg", "news"), ("web2.jpg", "web"), ("a.jpg", "")],
        [("web3", "web")],
    ]


def test_photographs_of_the_default_manner_are_named():
    rules = [MannerRule("web*", "web")]
    (named,) = set_manners([photographs("web1", "web2", "a")], rules, default={"web2", "other"})
    assert [photo.manner for photo in named] == ["web", "", ""]


def test_a_rule_for_no_photograph_is_refused():
    with pytest.raises(SettingError, match="no photograph has a name like 'sea_\\*'"):
        set_manners([photographs("web1.jpg")], [MannerRule("sea_*", "sea")])


def test_without_rules_nothing_changes():
    assert set_manners([photographs("a", "b")], []) == [photographs("a", "b")]
