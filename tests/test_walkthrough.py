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
ENTRY_POINTS = "The entry points"
PARTS = ("data", "network", "inference", "batch", "evaluation", "training", "app")
PARSER = doctest.DocTestParser()


class Chapter(NamedTuple):
    """The part of the document under one third-level heading."""

    title: str
    text: str
    line: int  # of the heading, from 0


class Snippet(NamedTuple):
    """The inside of a Python block, without its fences."""

    code: str
    line: int  # of its first line, from 0


class Walk(NamedTuple):
    """The outcome of running all snippets in order, as a reader would."""

    reports: dict[str, list[str]]  # what went wrong, by chapter
    names: dict[str, object]  # what the snippets have defined


def chapters() -> list[Chapter]:
    headings = list(re.finditer(r"^### (.+)$", TEXT, flags=re.M))
    ends = [heading.start() for heading in [*headings, re.search(r"\Z", TEXT)][1:]]
    return [
        Chapter(heading[1], TEXT[heading.start() : end], TEXT[: heading.start()].count("\n"))
        for heading, end in zip(headings, ends, strict=True)
    ]


def snippets(chapter: Chapter) -> list[Snippet]:
    blocks = re.finditer(r"^```python\n(.*?)^```$", chapter.text, flags=re.M | re.S)
    return [
        Snippet(block[1], chapter.line + chapter.text[: block.start(1)].count("\n"))
        for block in blocks
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
    """For work in pieces so small that threads would mostly wait for each other."""
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
    report = "".join(walk.reports[title])
    if report:
        earlier = next(name for name, reports in walk.reports.items() if reports)
        hint = "" if earlier == title else f"(the first chapter that fails is {earlier})\n"
        pytest.fail(f"{hint}{report}", pytrace=False)


@pytest.mark.parametrize("title", [chapter.title for chapter in chapters()])
def test_every_chapter_has_a_snippet_and_no_line_of_it_is_left_unchecked(title):
    chapter = next(chapter for chapter in chapters() if chapter.title == title)
    parsed = [PARSER.parse(snippet.code) for snippet in snippets(chapter)]
    assert len(parsed) == len(re.findall("^```python", chapter.text, flags=re.M))
    # An output must follow its line directly; doctest takes anything else for prose.
    assert not "".join(part for parts in parsed for part in parts if isinstance(part, str)).strip()
    lines = [part for parts in parsed for part in parts if isinstance(part, doctest.Example)]
    assert any(line.want for line in lines)
    assert not any(line.options for line in lines)  # such as SKIP


def modules(title: str) -> list[str]:
    """The paths of the modules that a title names; the first one's folder goes for all of them."""
    names = re.findall(r"[\w/]+\.py\b", title)
    return [str(Path(names[0]).with_name(Path(name).name)) for name in names]


def test_every_module_is_named_in_one_title_and_the_entry_points_share_the_last_chapter():
    paths = {path.relative_to(ROOT).as_posix() for path in (ROOT / "captioning").rglob("*.py")}
    only_wiring = {path for path in paths if path.endswith(("__main__.py", "_page.py"))}
    only_wiring.add("captioning/__init__.py")
    subpackages = {path for path in paths if path.endswith("/__init__.py")}
    *titles, last = [chapter.title for chapter in chapters()]
    named = [module for title in titles for module in modules(title)]
    assert Counter(named) == Counter(dict.fromkeys(paths - only_wiring - subpackages, 1))
    assert last == ENTRY_POINTS
    scripts = {path.name for path in ROOT.glob("*.py")} - {"conftest.py"}
    tools = {f"tools/{path.name}" for path in (ROOT / "tools").glob("*.py")} - {"tools/__init__.py"}
    for path in only_wiring | scripts | tools:
        assert f"`{path}`" in chapters()[-1].text


def test_the_chapters_follow_the_order_of_the_subpackages():
    folders = [Path(modules(chapter.title)[0]).parent.name for chapter in chapters()[:-1]]
    parts = [folder for folder in folders if folder != "captioning"]  # the foundation is anywhere
    assert parts == sorted(parts, key=PARTS.index)
    assert set(parts) == set(PARTS)
    assert folders[:2] == ["captioning", "captioning"]  # errors and files, which come first


def test_links_and_pictures_point_to_files_that_exist():
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
