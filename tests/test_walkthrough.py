"""The snippets of docs/walkthrough.md print what it says, and it leaves no module out."""

import doctest
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from tools import walkthrough

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "walkthrough.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
DOORS = "The doors"
PARSER = doctest.DocTestParser()


class Chapter(NamedTuple):
    """The part of the document under one heading of the third rank."""

    title: str
    text: str
    line: int  # of the heading, from 0


class Snippet(NamedTuple):
    """The inside of a Python block, without its fences."""

    code: str
    line: int  # of its first line, from 0


class Walk(NamedTuple):
    """What came of running all snippets in order, as a reader would."""

    reports: dict[str, list[str]]  # what went wrong, by chapter
    names: dict[str, object]  # what the snippets have defined


def chapters() -> list[Chapter]:
    headings = list(re.finditer(r"^### (.+)$", TEXT, flags=re.M))
    ends = [heading.start() for heading in [*headings, re.search(r"\Z", TEXT)][1:]]
    return [
        Chapter(one[1], TEXT[one.start() : end], TEXT[: one.start()].count("\n"))
        for one, end in zip(headings, ends, strict=True)
    ]


def snippets(chapter: Chapter) -> list[Snippet]:
    found = re.finditer(r"^```python\n(.*?)^```$", chapter.text, flags=re.M | re.S)
    return [
        Snippet(one[1], chapter.line + chapter.text[: one.start(1)].count("\n")) for one in found
    ]


def run(title: str, snippet: Snippet, names: dict[str, object]) -> list[str]:
    """Run one snippet in ``names``; returns a report for each output that differs."""
    reports: list[str] = []
    test = PARSER.get_doctest(snippet.code, names, title, str(DOCUMENT), snippet.line)
    test.globs = names  # not a copy: later chapters use what earlier ones define
    doctest.DocTestRunner(verbose=False).run(test, out=reports.append, clear_globs=False)
    return reports


@contextmanager
def one_thread() -> Iterator[None]:
    """For work in such small pieces that threads would mostly wait for each other."""
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(usual)


@pytest.fixture(scope="module")
def walk():
    names: dict[str, object] = {"__name__": "__main__"}
    reports: dict[str, list[str]] = {}
    with one_thread(), torch.random.fork_rng():  # the snippets seed it
        for chapter in chapters():
            parts = [run(chapter.title, snippet, names) for snippet in snippets(chapter)]
            reports[chapter.title] = [line for part in parts for line in part]
    return Walk(reports, names)


@pytest.mark.parametrize("title", [chapter.title for chapter in chapters()])
def test_the_snippets_print_what_the_document_says(walk, title):
    found = "".join(walk.reports[title])
    if found:
        earlier = next(name for name, reports in walk.reports.items() if reports)
        hint = "" if earlier == title else f"(the first chapter that fails is {earlier})\n"
        pytest.fail(f"{hint}{found}", pytrace=False)


@pytest.mark.parametrize("title", [chapter.title for chapter in chapters()])
def test_every_chapter_has_a_snippet_and_no_line_of_it_is_left_unchecked(title):
    chapter = next(chapter for chapter in chapters() if chapter.title == title)
    own = [PARSER.parse(snippet.code) for snippet in snippets(chapter)]
    assert len(own) == len(re.findall("^```python", chapter.text, flags=re.M))
    # An output must follow its line at once: doctest takes what is elsewhere for prose.
    assert not "".join(part for parts in own for part in parts if isinstance(part, str)).strip()
    lines = [part for parts in own for part in parts if isinstance(part, doctest.Example)]
    assert any(line.want for line in lines)
    assert not any(line.options for line in lines)  # such as SKIP


def test_every_module_has_one_chapter_and_the_doors_share_the_last():
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "captioning").rglob("*.py")}
    alone = {name for name in modules if "__" not in name and not name.endswith("_page.py")}
    titles = [chapter.title for chapter in chapters()]
    assert Counter(titles) == Counter({**dict.fromkeys(alone, 1), DOORS: 1})
    assert titles[-1] == DOORS
    for door in ("__init__", "__main__", "main", "bleu_scorer", "bench", "judge", "streamlit_app"):
        assert f"`{door}.py`" in chapters()[-1].text.replace("captioning/", "")


def test_links_and_pictures_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", TEXT) if "://" not in link]
    assert links
    for link in links:
        assert (DOCUMENT.parent / link).exists(), link


def test_every_picture_is_shown_once_with_a_text_for_those_who_cannot_see_it():
    pictures = re.findall(r"!\[(.*?)\]\(walkthrough/(.*?)\)", TEXT)
    assert len(pictures) == len(walkthrough.PICTURES)
    shown = {name: text for text, name in pictures}
    made = {path.name for path in walkthrough.FOLDER.glob("*")}
    assert set(shown) == made == {f"{name}.png" for name in walkthrough.PICTURES}
    assert all(len(text) > 30 for text in shown.values())


def test_the_drawn_tree_is_that_of_the_snippet(walk):
    assert walk.names["PROBABILITIES"] == walkthrough.PROBABILITIES
