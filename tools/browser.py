"""The app's server and a Chromium to open it with, for the browser tests and the tour."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TIMEOUT = 60_000  # milliseconds, ample for a busy machine
# No requests to Google, and a fake camera.
_FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
]


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(**environment: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Serve the app as ``make app`` does, on a free port; yields its address and its process."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py"]
    command += ["--server.port", str(port)]
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | environment, stdin=subprocess.DEVNULL
    ) as process:
        try:
            address = f"http://localhost:{port}"
            _wait(f"{address}/_stcore/health", process)
            yield address, process
        finally:
            process.kill()


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + TIMEOUT / 1000
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise RuntimeError(f"{address} did not answer; exit status {process.poll()}")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, headless."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def open_app(browser: Browser, address: str, width: int = 1280, scheme: str = "light") -> Page:
    """Open the app in a new window, and wait until it is ready."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
        permissions=["camera"],
        accept_downloads=True,
    )
    page = context.new_page()
    page.set_default_timeout(TIMEOUT)
    page.goto(address)
    page.locator("h1").first.wait_for()
    page.locator("input[type=file]").first.wait_for(state="attached")
    return page


def upload(page: Page, *files: Path | dict[str, object]) -> None:
    """Upload files, as a person does by choosing them."""
    page.locator("input[type=file]").first.set_input_files(list(files))  # type: ignore[arg-type]


def wait_until_idle(page: Page) -> None:
    """Wait until the page has stopped computing."""
    page.wait_for_timeout(400)  # until it has started
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    page.wait_for_timeout(200)


def expand_window(page: Page) -> None:
    """Make the window as tall as the page."""
    height = page.evaluate(
        "Math.max(...[...document.querySelectorAll('section')].map(e => e.scrollHeight))"
    )
    page.set_viewport_size({"width": page.viewport_size["width"], "height": height + 60})  # type: ignore[index]
    page.wait_for_timeout(500)
