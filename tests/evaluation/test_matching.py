"""Ids: captions go to the photographs that the references give the same ids, or nowhere."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from captioning.data.caption_files import DataError, read_captions
from captioning.evaluation.predictions import count_known, match_predictions, read_predictions
from captioning.evaluation.scoring_data import ids_of

several = settings(max_examples=60, deadline=None, database=None)


@pytest.fixture
def match(tmp_path):
    """Write references and results, and match them: the caption of each photograph, by name."""

    def match(references, results):
        for name, content in (("references", references), ("results", results)):
            text = content if isinstance(content, str) else json.dumps(content)
            (tmp_path / name).write_text(text)
        photographs = read_captions(tmp_path / "references", None).photographs
        names = [photograph.name for photograph in photographs]
        predictions = read_predictions(tmp_path / "results")
        captions = match_predictions(predictions, names, tmp_path / "results", ids_of(photographs))
        assert count_known(predictions, names, ids_of(photographs)) == len(names)
        return dict(zip(names, captions, strict=True))

    return match


@pytest.fixture
def refuse(match):
    """The sentence of the DataError that matching raises."""

    def refuse(references, results):
        with pytest.raises(DataError) as caught:
            match(references, results)
        assert str(caught.value).isprintable()
        assert str(caught.value).count("; ") == 1
        return str(caught.value)

    return refuse


def coco(ids):
    """References of COCO, with the id of each file name."""
    return {
        "images": [{"id": number, "file_name": name} for name, number in ids.items()],
        "annotations": [{"image_id": number, "caption": "x"} for number in ids.values()],
    }


def karpathy(*kinds, names=("a.jpg", "b.jpg")):
    """References of Karpathy, with these ids of each image."""
    images = [
        {"filename": name, "split": "test", "sentences": [{"raw": "x"}]}
        | {kind: ids[index] for kind, ids in kinds}
        for index, name in enumerate(names)
    ]
    return {"images": images}


def results(captions):
    return [{"image_id": image, "caption": text} for image, text in captions.items()]


CROSSED = {"img_1.jpg": 2, "img_2.jpg": 1}


def test_ids_come_before_the_numbers_of_names(match):
    expected = {"img_1.jpg": "of 2", "img_2.jpg": "of 1"}
    assert match(coco(CROSSED), results({2: "of 2", 1: "of 1"})) == expected
    assert match(coco(CROSSED), results({"2": "of 2", "01": "of 1"})) == expected
    assert match(coco(CROSSED), "image,caption\n1,of 1\n2,of 2\n") == expected


@several
@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,3}_[0-9]{1,2}\.jpg", fullmatch=True),
        st.integers(0, 40),
        min_size=1,
        max_size=9,
    ).filter(lambda ids: len(set(ids.values())) == len(ids)),
    st.randoms(use_true_random=False),
)
def test_results_go_where_the_tools_of_coco_put_them(tmp_path_factory, ids, rng):
    folder = tmp_path_factory.mktemp("coco")
    order = list(ids.items())
    rng.shuffle(order)
    written = results({number: f"caption of {name}" for name, number in order})
    (folder / "references").write_text(json.dumps(coco(ids)))
    (folder / "results").write_text(json.dumps(written))
    truth = COCO()
    truth.dataset = coco(ids) | {"annotations": []}
    truth.createIndex()
    theirs = truth.loadRes(str(folder / "results"))
    photographs = read_captions(folder / "references", None).photographs
    names = [photograph.name for photograph in photographs]
    predictions = read_predictions(folder / "results")
    ours = match_predictions(predictions, names, folder / "results", ids_of(photographs))
    assert ours == [theirs.imgToAnns[ids[name]][0]["caption"] for name in names]


@pytest.mark.parametrize("first", [0, 1, 23430])
def test_ids_may_begin_anywhere(match, first):
    ids = {f"VizWiz_val_{n:08}.jpg": first + n for n in range(12)}
    captions = {number: f"caption of {name}" for name, number in ids.items()}
    assert match(coco(ids), results(captions)) == {name: f"caption of {name}" for name in ids}


def test_names_are_found_although_there_are_ids(match):
    captions = {"img_1.jpg": "one", "x/img_2.jpg": "two"}
    assert match(coco(CROSSED), results(captions)) == {"img_1.jpg": "one", "img_2.jpg": "two"}


def test_ids_that_are_no_numbers_are_compared_too(match):
    ids = {"a.jpg": "p-1", "b.jpg": "p-0"}
    assert match(coco(ids), results({"p-0": "b", "p-1": "a"})) == {"a.jpg": "a", "b.jpg": "b"}


@pytest.mark.parametrize(
    "kinds",
    [
        [("cocoid", (391890, 391891))],
        [("imgid", (7000, 7001))],
        [("cocoid", (391890, 391891)), ("imgid", (7000, 7001))],
        [("imgid", (0, 391890)), ("cocoid", (391890, 391891))],
    ],
    ids=str,
)
def test_each_kind_of_id_of_karpathy_is_known(match, kinds):
    for _, (first, second) in kinds:
        expected = {"a.jpg": "one", "b.jpg": "two"}
        assert match(karpathy(*kinds), results({second: "two", first: "one"})) == expected


def test_ids_of_two_kinds_that_disagree_are_not_guessed(refuse):
    references = karpathy(("cocoid", (1, 0)), ("imgid", (0, 1)))
    assert "0 in it may be b.jpg or a.jpg" in refuse(references, results({0: "x", 1: "y"}))


def test_ids_beside_names_of_references_that_are_a_table_are_known(match):
    table = "image_id,file_name,caption\n2,img_1.jpg,x\n1,img_2.jpg,x\n"
    expected = {"img_1.jpg": "of 2", "img_2.jpg": "of 1"}
    assert match(table, results({2: "of 2", 1: "of 1"})) == expected


@pytest.mark.parametrize("image", [3, "3", "0003"])
def test_an_id_that_the_references_do_not_give_is_an_error(refuse, image):
    references = coco({"img_3.jpg": 1, "img_4.jpg": 2})
    message = refuse(references, results({image: "x", 2: "y"}))
    assert "is not among the ids that the references give the 2 photographs" in message


@pytest.mark.parametrize(
    ("row", "other"),
    [
        ({"image_id": 2, "file_name": "img_2.jpg"}, "img_1.jpg"),  # its id and its name
        ({"image_id": "2.jpg"}, "img_1.jpg"),  # a name's number, and an id
    ],
)
def test_a_name_and_an_id_of_two_photographs_are_an_error(refuse, row, other):
    message = refuse(coco(CROSSED), [row | {"caption": "x"}])
    assert "may be img_2.jpg or img_1.jpg; write the name of the photograph in full" in message
    assert other in message


def test_a_number_that_is_one_photographs_name_and_anothers_id_is_an_error(refuse):
    references = coco({"1": 2, "2": 1})
    assert "1 in it may be 1 or 2; " in refuse(references, results({"1": "x", "2": "y"}))
    assert "1 in it may be 1.jpg or 2.jpg; " in refuse(
        coco({"1.jpg": 2, "2.jpg": 1}), "image,caption\n1,x\n2,y\n"
    )


def test_a_name_and_an_id_that_agree_are_one_photograph(match):
    rows = [
        {"image_id": 2, "file_name": "img_1.jpg", "caption": "one"},
        {"image_id": 1, "file": "elsewhere/img_2.jpg", "caption": "two"},
    ]
    assert match(coco(CROSSED), rows) == {"img_1.jpg": "one", "img_2.jpg": "two"}


def test_an_id_of_two_photographs_is_not_guessed(refuse):
    references = karpathy(("cocoid", (5, 5)))
    assert "5 in it may be a.jpg or b.jpg" in refuse(references, results({5: "x"}))


def test_data_sets_that_name_the_same_photographs_need_no_common_ids(match):
    names = ["a.jpg", "b.jpg", "c.jpg"]
    numbers = random.Random(1).sample(range(3), 3)
    theirs = coco(dict(zip(names, numbers, strict=True)))
    for annotation in theirs["annotations"]:
        annotation["caption"] = f"of {names[numbers.index(annotation['image_id'])]}"
    ours = coco(dict(zip(names, range(3), strict=True)))
    assert match(ours, theirs) == {name: f"of {name}" for name in names}
