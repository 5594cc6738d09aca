"""readme.py: the README's scores say what the result says, and no more."""

import json

import pytest

from captioning.errors import CaptioningError
from captioning.evaluation.readme import README_BEGIN, README_END, with_results
from captioning.network.checkpoint import SHIPPED_MODEL
from tests.evaluation.report_pages import other_sets, pointing


def text_of(readme):
    """The text without its line breaks."""
    return " ".join(readme.split())


@pytest.fixture(scope="module")
def shipped_result():
    return json.loads(SHIPPED_MODEL.with_name("results.json").read_text(encoding="utf-8"))


def test_the_readme_gets_the_scores_between_its_marks(shipped_result):
    readme = f"before\n{README_BEGIN}\nlast month\n{README_END}\nafter\n"
    text = with_results(readme, shipped_result)
    assert text.startswith(f"before\n{README_BEGIN}\n\n1,000 photographs of the development split")
    assert text.endswith(f"\n\n{README_END}\nafter\n")
    scores, intervals = shipped_result["metrics"], shipped_result["intervals"]
    low, high = intervals["CIDEr-D"]
    assert f"| {scores['CIDEr-D']:.1f} ({low:.1f} to {high:.1f}) |" in text
    assert f"{shipped_result['attention']['faithfulness']:.3f} nats" in text_of(text)
    chair = f"{scores['CHAIR-s']:.1f} %"
    assert f"{chair} of the captions name an object that no reference names" in text_of(text)
    assert "last month" not in text
    assert with_results(text, shipped_result) == text


def test_the_readme_says_where_the_maps_point(shipped_result):
    text = text_of(
        with_results(README_BEGIN + README_END, shipped_result | {"pointing": pointing()})
    )
    assert "0.86 (0.85 to 0.87) of the evidence for a dog word or a person word" in text
    assert "0.58 (0.57 to 0.59) of its attention; 0.50 is chance" in text
    assert "a map that always looks at the centre has 0.50 (0.49 to 0.51)." in text


def test_the_readme_says_of_the_maps_what_was_measured(shipped_result):
    maps = {kind: {"metrics": {"mass": 0.75}} for kind in ("evidence", "attention")}
    part = shipped_result | {"pointing": {"maps": maps}}
    text = text_of(with_results(README_BEGIN + README_END, part))
    assert "0.75 of the evidence" in text
    assert "0.75 of its attention; 0.50 is chance. " in text
    part["pointing"] = {"maps": {"attention": maps["attention"]}}
    assert "picture" not in with_results(README_BEGIN + README_END, part)


def test_the_readme_does_without_what_was_not_measured(shipped_result):
    kept = {"BLEU-4": shipped_result["metrics"]["BLEU-4"]}
    part = {k: v for k, v in shipped_result.items() if k != "attention"} | {"metrics": kept}
    text = with_results(f"{README_BEGIN}{README_END}", part)
    assert "| BLEU-4 |\n" in text
    assert "nats" not in text


def test_the_readme_has_a_table_of_other_sets_where_there_are_any(shipped_result):
    result = shipped_result | {"other sets": other_sets()}
    result["metrics"] = shipped_result["metrics"] | {"supported objects": 71.25}
    text = with_results(README_BEGIN + README_END, result)
    assert "71.2 % name one that a reference names." in text_of(text)
    lines = text.splitlines()
    start = lines.index("| data set | CIDEr-D | supported objects |")
    assert lines[start + 1 : start + 4] == [
        "|---|---|---|",
        "| everyday (243 photographs, 1 to 5 references each) | 25.5 (20.7 to 31.4) | "
        "41.2 (36.4 to 46.9) |",
        "| everyday, web (2,230 photographs, 1 reference each) | 8.7 (7.9 to 9.6) | \N{EN DASH} |",
    ]
    part = {key: value for key, value in result.items() if key != "other sets"}
    assert "other data sets" not in text_of(with_results(README_BEGIN + README_END, part))


@pytest.mark.parametrize("readme", ["", README_BEGIN, README_END, f"{README_END}{README_BEGIN}"])
def test_a_readme_without_its_marks_is_refused_in_a_sentence(readme, shipped_result):
    with pytest.raises(CaptioningError, match=r"README\.md lacks the marks"):
        with_results(readme, shipped_result)
