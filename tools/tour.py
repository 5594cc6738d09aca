"""The pictures of the README's tour, from the running app: make tour"""

from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Page

from captioning.app.examples import examples
from tools.browser import ROOT, chromium, opened, put_in, resolve_precision, serving

FOLDER = ROOT / "docs" / "tour"
WORD = 5  # of the caption: the one whose attention is shown


def shoot(page: Page, name: str) -> None:
    """One picture, of the page as it is."""
    path = FOLDER / f"{name}.png"
    page.wait_for_timeout(1000)  # what moves comes to rest
    page.screenshot(path=path, scale="css")
    print(f"written to {path}")


def captioned(page: Page, files: Sequence[Path]) -> Page:
    """The page with the captions of these files."""
    put_in(page, *files)
    page.get_by_text("Copy and keep").wait_for()
    resolve_precision(page)
    return page


def main() -> None:
    """Take all pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    files = [example.path for example in examples()]
    with serving() as (address, _), chromium() as browser:
        page = captioned(opened(browser, address), files[:1])
        page.get_by_role("radio").nth(WORD).click()
        resolve_precision(page)
        page.set_viewport_size({"width": 1280, "height": 1420})
        shoot(page, "one_photograph")
        page = captioned(opened(browser, address, scheme="dark"), files)
        page.locator("[data-testid=stDataFrame] canvas").first.wait_for()
        page.set_viewport_size({"width": 1280, "height": 980})
        shoot(page, "many_photographs")
        page = captioned(opened(browser, address, width=390), files[:1])
        page.get_by_role("radio").nth(WORD).click()
        resolve_precision(page)
        page.set_viewport_size({"width": 390, "height": 1320})
        shoot(page, "telephone")


if __name__ == "__main__":
    main()
