"""Time and memory of the running app over many uploads: make soak

Uploads many photographs, one after the other, in a real browser, and prints how long each takes
from upload to caption, how long the captioner alone takes, and the server's memory.
"""

import io
import statistics
import time
from pathlib import Path

import numpy as np
from PIL import Image

from captioning.app.examples import examples
from captioning.inference.captioner import Captioner
from tools.browser import chromium, open_app, serving, upload

PHOTOGRAPHS = 500


def photograph(seed: int) -> bytes:
    """A random crop of an example photograph, as a JPEG."""
    rng = np.random.default_rng(seed)
    with Image.open(examples()[seed % 4].path) as image:
        left, top = (int(rng.integers(0, side - 224)) for side in image.size)
        crop = image.convert("RGB").crop((left, top, left + 224, top + 224))
    file = io.BytesIO()
    crop.save(file, "JPEG")
    return file.getvalue()


def megabytes(pid: int) -> float:
    """The resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def main() -> None:
    """Upload, wait, measure."""
    captioner = Captioner.load()
    captioner_seconds, upload_seconds = [], []
    with serving() as (address, process), chromium() as browser:
        page = open_app(browser, address)
        for seed in range(PHOTOGRAPHS):
            content, name = photograph(seed), f"photo{seed}.jpg"
            started = time.perf_counter()
            captioner(content)
            captioner_seconds.append(time.perf_counter() - started)
            started = time.perf_counter()
            upload(page, {"name": name, "mimeType": "image/jpeg", "buffer": content})
            page.locator("h2").first.wait_for()  # the caption
            upload_seconds.append(time.perf_counter() - started)
            page.locator(f"code:has-text('{name}')").wait_for()  # the end of the page
            page.get_by_role("button", name=f"Remove {name}").click()
            page.locator(f"code:has-text('{name}')").wait_for(state="detached")
            if seed + 1 in (50, 100, 200, 300, 400, 500):
                upload_median = statistics.median(upload_seconds)
                captioner_median = statistics.median(captioner_seconds)
                print(
                    f"{seed + 1} photographs: upload to caption {upload_median:.2f} s, "
                    f"the captioner alone {captioner_median:.2f} s (medians); "
                    f"server {megabytes(process.pid):.0f} MB",
                    flush=True,
                )


if __name__ == "__main__":
    main()
