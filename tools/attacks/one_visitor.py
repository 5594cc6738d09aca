"""Time and memory of the running app over many uploads.

Uploads many photographs, one after the other, in a real browser: how long the slowest takes from
upload to caption, and how much the server's memory grows after the first fifty.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from captioning.app.examples import examples
from tools.attacks.outcome import Outcome
from tools.browser import chromium, open_app, serving, upload

PHOTOGRAPHS = 500
WARM = 50  # after which memory should not grow


def photograph(seed: int) -> bytes:
    """A random crop of an example photograph, as a JPEG."""
    rng = np.random.default_rng(seed)
    with Image.open(examples()[seed % 4].path) as image:
        left, top = (int(rng.integers(0, side - 224)) for side in image.size)
        crop = image.convert("RGB").crop((left, top, left + 224, top + 224))
    file = io.BytesIO()
    crop.save(file, "JPEG")
    return file.getvalue()


def resident(pid: int) -> int:
    """The resident memory of a process, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


def attacks(_folder: Path) -> Iterator[Outcome]:
    """Upload, wait, remove, five hundred times."""
    outcome = Outcome("photographs uploaded one by one in Chromium")
    warm = 0
    with serving() as (address, process), chromium() as browser:
        page = open_app(browser, address)
        for seed in range(PHOTOGRAPHS):
            content, name = photograph(seed), f"photo{seed}.jpg"
            with outcome.attempt(name):
                upload(page, {"name": name, "mimeType": "image/jpeg", "buffer": content})
                page.locator("h2").first.wait_for()  # the caption
            page.locator(f"code:has-text('{name}')").wait_for()  # the end of the page
            page.get_by_role("button", name=f"Remove {name}").click()
            page.locator(f"code:has-text('{name}')").wait_for(state="detached")
            if seed + 1 == WARM:
                warm = resident(process.pid)
        outcome.memory = resident(process.pid) - warm
    yield outcome
