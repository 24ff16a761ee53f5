"""Headless Chromium for tests: a page's document after its scripts, pictures, and how wide it is on narrow screens."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
"""Of every run: no network of its own, nothing on the screen."""
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")

FRAMES = """<!doctype html><pre id="seen"></pre><script>
const seen = {};
(async () => {
  for (const width of [1280, 420]) {
    const frame = document.createElement("iframe");
    frame.width = width; frame.height = 900;
    const loaded = new Promise(done => frame.onload = done);
    frame.src = PAGE; document.body.append(frame); await loaded;
    seen[width] = frame.contentDocument.documentElement.scrollWidth;
  }
  document.getElementById("seen").textContent = JSON.stringify(seen);
})();
</script>"""


def browse(folder: Path, target: Path, *arguments: str) -> str:
    """Open a page with an empty profile; standard output. A browser that hangs ends the test after two minutes."""
    assert CHROMIUM is not None
    profile = folder / f"profile-{len(list(folder.glob('profile-*')))}"
    profile.mkdir()
    done = subprocess.run(
        [CHROMIUM, *FLAGS, "--allow-file-access-from-files", f"--user-data-dir={profile}", *arguments, target.as_uri()],
        capture_output=True,
        timeout=120,
        check=True,
        cwd=folder,
    )
    return done.stdout.decode("utf-8", errors="replace")


def widths(folder: Path, page: Path) -> dict[str, Any]:
    """How wide a page's content is in frames of 1280 and 420 pixels."""
    frames = folder / "frames.html"
    frames.write_text(FRAMES.replace("PAGE", json.dumps(page.name)), encoding="utf-8")
    found = re.search(r'<pre id="seen">(.*?)</pre>', browse(folder, frames, "--dump-dom"), re.DOTALL)
    assert found
    return dict(json.loads(unescape(found[1])))
