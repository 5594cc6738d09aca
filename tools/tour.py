"""Screenshots of the running app for the README: make tour"""

from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Page

from captioning.app.examples import examples
from tools.browser import ROOT, chromium, open_app, serving, upload, wait_until_idle

FOLDER = ROOT / "docs" / "tour"


def shoot(page: Page, name: str) -> None:
    """Take one screenshot of the page as it is."""
    path = FOLDER / f"{name}.png"
    page.wait_for_timeout(1000)  # until animations have ended
    page.screenshot(path=path, scale="css")
    print(f"written to {path}")


def upload_and_caption(page: Page, files: Sequence[Path]) -> Page:
    """Upload files and wait for their captions."""
    upload(page, *files)
    page.get_by_text("Copy and keep").wait_for()
    wait_until_idle(page)
    return page


def main() -> None:
    """Take all screenshots."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    files = [example.path for example in examples()]
    with serving() as (address, _), chromium() as browser:
        page = upload_and_caption(open_app(browser, address), files[:1])
        page.set_viewport_size({"width": 1280, "height": 1550})
        shoot(page, "one_photograph")
        page = upload_and_caption(open_app(browser, address, scheme="dark"), files)
        page.locator("[data-testid=stDataFrame] canvas").first.wait_for()
        page.set_viewport_size({"width": 1280, "height": 980})
        shoot(page, "many_photographs")
        page = upload_and_caption(open_app(browser, address, width=390), files[:1])
        page.set_viewport_size({"width": 390, "height": 1405})
        shoot(page, "phone")


if __name__ == "__main__":
    main()
