"""Other data sets: which photographs are scored, how they are captioned, what they score."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captioning.data.caption_files import DataError, Photograph
from captioning.data.images import ImageError
from captioning.data.splits import hashed_split
from captioning.errors import SettingError
from captioning.evaluation.corpus import Corpus, caption_scores
from captioning.evaluation.objects import ObjectWords
from captioning.evaluation.opening_word import opening_word
from captioning.evaluation.other_sets import (
    EXAMPLES,
    CaptionedGroup,
    Group,
    caption_groups,
    read_groups,
    score_groups,
)
from captioning.evaluation.scoring_flags import ScoringFlags

NAMES = [f"{kind}_{number}.png" for kind in ("web", "coco") for number in range(30)]
HELD_OUT = [n for part in ("dev", "test") for n in NAMES if hashed_split(n) == part]
WEB = [name for name in HELD_OUT if name.startswith("web")]
COCO = [name for name in HELD_OUT if name.startswith("coco")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sixty pictures of noise in soft colours, and a file with two captions of each."""
    folder = tmp_path_factory.mktemp("everyday")
    random = np.random.default_rng(3)
    for name in NAMES:
        pixels = random.integers(0, 256, (4, 4, 3)).astype(np.uint8)
        Image.fromarray(pixels).resize((64, 48)).save(folder / name)
    rows = [f"{name},a {word}" for name in NAMES for word in ("cup", "dog runs")]
    (folder / "captions.txt").write_text("\n".join(["image,caption", *rows]))
    return folder


def names(group):
    return [photograph.name for photograph in group.photographs]


# Which photographs -------------------------------------------------------------------------------


def test_the_held_out_photographs_are_scored_each_manner_apart(folder):
    also = ((folder / "captions.txt", folder),)
    groups, remarks = read_groups(ScoringFlags(also=also, manner=("web_*=web",)))
    assert len(WEB) > 3
    assert len(COCO) > 3
    name = folder.name
    assert [(each.name, names(each)) for each in groups] == [(name, COCO), (f"{name}, web", WEB)]
    assert remarks == [
        f"{name}: {len(COCO)} photographs, a split by the hash of each name",
        f"{name}, web: {len(WEB)} photographs, a split by the hash of each name",
    ]


def test_without_manners_a_set_is_one_group_and_a_trial_takes_the_first(folder):
    also = ((folder / "captions.txt", folder),) * 2
    groups, _ = read_groups(ScoringFlags(also=also, limit=3))
    assert [names(each) for each in groups] == [HELD_OUT[:3]] * 2
    assert len({each.name for each in groups}) == 2
    (whole, _), _ = read_groups(ScoringFlags(also=also))
    assert names(whole) == HELD_OUT


def test_no_other_set_is_no_group():
    assert read_groups(ScoringFlags()) == ((), [])


def test_a_set_that_holds_nothing_out_is_refused(folder):
    training = next(name for name in NAMES if name not in HELD_OUT)
    file = folder / "few.txt"
    file.write_text(f"image,caption\n{training},a dog\n")
    with pytest.raises(DataError, match=r"few\.txt: none of its photographs is held out"):
        read_groups(ScoringFlags(also=((file, folder),)))


def test_a_manner_of_no_photograph_is_refused(folder):
    also = ((folder / "captions.txt", folder),)
    with pytest.raises(SettingError, match="no photograph has a name like 'sea_"):
        read_groups(ScoringFlags(also=also, manner=("sea_*=sea",)))


# Captions ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def group(folder):
    """Thirty photographs of one manner."""
    photographs = tuple(
        Photograph(name, folder / name, ("a cup on a table", "a dog"), manner="web")
        for name in NAMES[:30]
    )
    return Group("everyday, web", photographs, "a split")


@pytest.fixture(scope="module")
def captioned(captioner, group):
    """The group, and ten photographs of it as another group."""
    few = replace(group, name="few", photographs=group.photographs[:10])
    return caption_groups(captioner, [group, few])


def test_captions_are_those_that_the_captioner_gives(captioner, captioned, group):
    texts = [captioner(photo.path).text for photo in group.photographs[:10]]
    assert len(set(texts)) > 3
    assert list(captioned[0].captions[:10]) == list(captioned[1].captions) == texts


def test_examples_are_spread_evenly_over_the_first_group(captioned, captioner, group):
    first, second = captioned
    assert len(first.examples) == EXAMPLES
    assert not second.examples
    pixels = [np.asarray(Image.open(p.path)).astype(int) for p in group.photographs]
    shown = [np.asarray(each.picture.resize((64, 48))).astype(int) for each in first.examples]
    # Each picture is that of the photograph at its distance, and of no other.
    indices = [int(np.argmin([np.abs(one - p).mean() for p in pixels])) for one in shown]
    assert indices == [round(29 * k / 11) for k in range(12)]
    for index, example in zip(indices, first.examples, strict=True):
        caption = captioner(group.photographs[index].path, evidence=True)
        word = opening_word(caption.words)
        assert (example.caption, example.word) == (caption.sentence, caption.words[word])
        # In a batch the last digits differ; the maps of other photographs differ in the first.
        assert np.allclose(example.attention, caption.attention[word], atol=1e-3)
        assert np.allclose(example.evidence, caption.evidence[word], atol=1e-3)
        assert example.references == ("a cup on a table", "a dog")


def test_few_photographs_are_all_shown(captioner, group):
    few = replace(group, photographs=group.photographs[:3])
    (captioned,) = caption_groups(captioner, [few])
    assert len(captioned.examples) == 3


def test_a_photograph_that_cannot_be_read_is_named(captioner, group, tmp_path):
    (tmp_path / "bad.png").write_text("no picture")
    bad = Photograph("bad.png", tmp_path / "bad.png", ("a dog",))
    with pytest.raises(ImageError, match=r"bad\.png"):
        caption_groups(captioner, [replace(group, photographs=(*group.photographs[:2], bad))])


# Scores ------------------------------------------------------------------------------------------

OBJECTS = ("dog", "man", "person", "ball", "cat", "grass", "horse", "snow")


def random_group(count, seed):
    """Photographs with random references, and two systems' captions; some name no object."""
    random = np.random.default_rng(seed)

    def text():
        return " ".join(["a", *random.choice([*OBJECTS, "runs", "red", "on"], 3)])

    photographs = tuple(
        Photograph(f"{n}.png", Path(f"{n}.png"), tuple(text() for _ in range(1 + n % 3)))
        for n in range(count)
    )
    group = Group("random", photographs, "a split")
    ours, theirs = ([text() for _ in range(count)] for _ in range(2))
    theirs[: count // 2] = [photo.captions[0] for photo in photographs[: count // 2]]
    return CaptionedGroup(group, ours), CaptionedGroup(group, theirs)


def supported(captioned):
    """Whether each caption names an object that a reference names, and one that none names."""
    categories = ObjectWords.load().categories

    def shared(word, photograph):
        others = " ".join(photograph.captions).split()
        return any(categories[word] & categories.get(other, frozenset()) for other in others)

    rows = []
    for caption, photograph in zip(captioned.captions, captioned.group.photographs, strict=True):
        known = [shared(word, photograph) for word in caption.split() if word in categories]
        rows.append((any(known), not all(known)))
    return np.array(rows, float).T


def test_scores_are_those_of_the_captions_by_brute_force():
    ours, _ = random_group(200, 1)
    (part,) = score_groups([ours])
    named, invented = supported(ours)
    assert part["metrics"]["supported objects"] == pytest.approx(100 * named.mean(), abs=1e-3)
    assert part["metrics"]["CHAIR-s"] == pytest.approx(100 * invented.mean(), abs=1e-3)
    assert 20 < part["metrics"]["supported objects"] < 80
    corpus = Corpus.of(ours.captions, [photo.captions for photo in ours.group.photographs])
    expected = caption_scores(corpus.candidates, corpus.references)
    assert {n: part["metrics"][n] for n in expected} == pytest.approx(expected, abs=1e-3)
    assert (
        set(part["intervals"])
        == set(part["metrics"])
        == {
            *expected,
            *("CHAIR-s", "CHAIR-i", "supported objects"),
        }
    )
    head = {k: part[k] for k in ("name", "photographs", "references per image", "split source")}
    assert tuple(head.values()) == ("random", 200, "1 to 3", "a split")
    assert "against" not in part


def test_intervals_are_those_of_a_bootstrap_over_photographs():
    ours, theirs = random_group(200, 2)
    (part,) = score_groups([ours], [theirs])
    random = np.random.default_rng(9)
    drawn = random.integers(0, 200, (20_000, 200))
    of_ours, of_theirs = (100 * supported(each)[0][drawn].mean(axis=1) for each in (ours, theirs))
    expected = np.percentile(of_ours, [2.5, 97.5])
    assert part["intervals"]["supported objects"] == pytest.approx(expected, abs=1.0)
    row = part["against"]["metrics"]["supported objects"]
    expected = np.percentile(of_ours - of_theirs, [2.5, 97.5])
    assert row["interval"] == pytest.approx(expected, abs=1.0)
    assert row["this"] == part["metrics"]["supported objects"]
    assert row["difference"] == pytest.approx(row["this"] - row["other"], abs=1e-3)
    assert row["difference"] < -10
    assert row["p"] < 0.01
    (back,) = score_groups([theirs], [ours])
    assert back["against"]["metrics"]["CIDEr-D"]["difference"] == pytest.approx(
        -part["against"]["metrics"]["CIDEr-D"]["difference"], abs=1e-3
    )


def test_only_groups_that_the_other_has_too_are_compared():
    ours, theirs = random_group(20, 3)
    renamed = replace(theirs, group=replace(theirs.group, name="another"))
    (part,) = score_groups([ours], [renamed])
    assert "against" not in part
