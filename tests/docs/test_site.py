"""The site is built without a warning, every link in it leads somewhere, and a browser shows it on wide and narrow screens."""

import functools
import json
import re
import runpy
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

import firstspike

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--enable-logging=stderr",
)  # fmt: skip
WIDTHS = (1280, 420)

# Shows every page in a frame of each width, and writes down how wide the page is in it.
LOOK = """<!doctype html><title>look</title><pre id="seen"></pre><script>
const seen = [];
async function look() {
  for (const width of WIDTHS) for (const page of PAGES) {
    const frame = document.createElement("iframe");
    frame.width = width; frame.height = 900;
    const loaded = new Promise(done => frame.onload = done);
    frame.src = page; document.body.append(frame); await loaded;
    const inside = frame.contentDocument;
    const entry = {page, width, scroll: inside.documentElement.scrollWidth, title: inside.title,
      text: inside.querySelector("article")?.getBoundingClientRect().height ?? 0,
      blank: [...inside.images].filter(image => image.complete && !image.naturalWidth).map(image => image.src)};
    seen.push(entry); frame.remove();
  }
  document.getElementById("seen").textContent = JSON.stringify(seen); document.title = "done";
}
look();
</script>"""


class Links(HTMLParser):
    """Addresses that a page names, and the names that others can point to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.loaded: list[str] = []
        self.names: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value for key, value in attrs if value is not None}
        if tag == "a" and "href" in values:
            self.targets.append(values["href"])
        if tag in ("img", "script") and "src" in values:
            self.loaded.append(values["src"])
        if tag == "link" and values.get("rel") in ("stylesheet", "icon"):
            self.loaded.append(values["href"])
        self.names |= {values[key] for key in ("id", "name") if key in values}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site; warnings of the build are errors (``strict`` in mkdocs.yml)."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--site-dir", str(folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """Where the site is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[Path, Links]:
    """Every page of the site, read."""
    return {
        path: Links(path.read_text(encoding="utf-8"))
        for path in sorted(site.rglob("*.html"))
        if path.name != "404.html"
    }


def test_every_link_leads_to_a_place_on_the_site(site: Path, pages: dict[Path, Links]) -> None:
    broken = []
    for page, links in pages.items():
        for target in (*links.targets, *links.loaded):
            address, fragment = urldefrag(target)
            if urlsplit(address).scheme:
                continue
            place = (page.parent / unquote(urlsplit(address).path)).resolve() if address else page
            place = place / "index.html" if place.is_dir() else place
            if not place.is_file():
                broken.append(f"{page.relative_to(site)}: {target}")
            elif fragment and place in pages and unquote(fragment) not in pages[place].names:
                broken.append(f"{page.relative_to(site)}: no {target}")
    assert not broken, "\n".join(broken)


def test_every_page_is_reached_from_the_first(site: Path, pages: dict[Path, Links]) -> None:
    reached, todo = set(), [site / "index.html"]
    while todo:
        page = todo.pop()
        if page in reached:
            continue
        reached.add(page)
        for target in pages[page].targets:
            address, _ = urldefrag(target)
            if address and not urlsplit(address).scheme:
                place = (page.parent / unquote(address)).resolve()
                place = place / "index.html" if place.is_dir() else place
                todo.extend([place] if place in pages else [])
    assert reached == set(pages)


def test_the_reference_shows_every_public_name_and_every_room() -> None:
    folder = ROOT / "docs" / "reference" / "api"
    page = (folder / "firstspike.md").read_text(encoding="utf-8")
    assert [name for name in firstspike.__all__ if f"`fs.{name}" not in page] == []
    rooms = {place.parent.name for place in (ROOT / "src" / "firstspike").glob("*/__init__.py")}
    assert rooms - {path.stem for path in folder.glob("*.md")} == {"cli"}, "the command line has a page of its own"


def test_no_page_loads_anything_from_elsewhere(pages: dict[Path, Links]) -> None:
    assert {target for links in pages.values() for target in links.loaded if urlsplit(target).netloc} == set()


def test_doctests_are_blocks_of_code() -> None:
    fenced = runpy.run_path(str(ROOT / "scripts" / "site_griffe.py"))["fenced"]
    text = "The sum.\n\n>>> x = (\n...     1\n... )\n>>> x + 1\n2\n\nMore.\n"
    assert fenced(text) == "The sum.\n\n```pycon\n>>> x = (\n...     1\n... )\n>>> x + 1\n2\n```\n\nMore.\n"


@pytest.mark.slow  # minutes on a busy machine, where a browser's virtual time has been seen to stand still
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_shows_every_page_wide_and_narrow(
    site: Path, pages: dict[Path, Links], address: str, tmp_path: Path
) -> None:
    names = [str(page.relative_to(site)) for page in pages]
    look = LOOK.replace("WIDTHS", json.dumps(WIDTHS)).replace("PAGES", json.dumps(names))
    (site / "look.html").write_text(look, encoding="utf-8")
    done = subprocess.run(
        [
            str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path}", "--window-size=1400,1000",
            "--virtual-time-budget=600000", "--dump-dom", f"{address}look.html",
        ],
        capture_output=True, text=True, timeout=300, check=True, cwd=tmp_path,
    )  # fmt: skip
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout[-500:]
    seen = json.loads(unescape(found[1]))
    assert [(entry["page"], entry["width"]) for entry in seen] == [(name, width) for width in WIDTHS for name in names]
    assert [entry for entry in seen if entry["scroll"] > entry["width"]] == [], "a page scrolls sideways"
    assert [entry for entry in seen if entry["blank"]] == [], "a picture is missing"
    assert [entry for entry in seen if entry["text"] < 100 or not entry["title"]] == [], "a page is empty"
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert complaints == []
