"""The site is built without a warning, every link in it leads somewhere, and a browser shows it on wide and narrow screens."""

import functools
import json
import queue
import runpy
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

import firstspike
from tests.pages.browser import CHROMIUM, FLAGS, needs_browser

ROOT = Path(__file__).resolve().parents[2]
WIDTHS = (1280, 420)

PATIENCE = 300
"""Seconds until a browser counts as stuck; it needs some ten of processor time."""

# Loads every page once in a frame, a few at a time, and hands in how wide it is in each width of the frame.
LOOK = """<!doctype html><title>look</title><script>
async function look(page) {
  const frame = document.createElement("iframe");
  frame.width = WIDTHS[0]; frame.height = 900;
  const loaded = new Promise(done => frame.onload = done);
  frame.src = page; document.body.append(frame); await loaded;
  const inside = frame.contentDocument, entries = [];
  for (const width of WIDTHS) {
    frame.width = width;
    await new Promise(done => setTimeout(done, 20));  // what the page does when it is resized
    entries.push({page, width, scroll: inside.documentElement.scrollWidth, title: inside.title,
      text: inside.querySelector("article")?.getBoundingClientRect().height ?? 0,
      blank: [...inside.images].filter(image => image.complete && !image.naturalWidth).map(image => image.src)});
  }
  frame.remove();
  return entries;
}
async function all() {
  const todo = PAGES, seen = [];
  const turn = async () => { while (todo.length) seen.push(...await look(todo.shift())); };
  await Promise.all([turn(), turn(), turn(), turn()]);
  await fetch("seen", {method: "POST", body: JSON.stringify(seen)});
}
addEventListener("load", all);
</script><body>"""


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
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return folder


class Server(ThreadingHTTPServer):
    """Serves the site, and keeps what a page hands in."""

    request_queue_size = 128  # with the usual 5, connections of a browser are dropped and tried again seconds later

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        self.handed_in: queue.Queue[bytes] = queue.Queue()
        self.address = f"http://127.0.0.1:{self.server_port}/"


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    server: Server
    protocol_version = "HTTP/1.1"  # connections are kept

    def do_POST(self) -> None:
        """Keep what is handed in."""
        self.server.handed_in.put(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(site: Path) -> Iterator[Server]:
    """The site, served."""
    with Server(site) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
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


@needs_browser
def test_a_browser_shows_every_page_wide_and_narrow(
    site: Path, pages: dict[Path, Links], server: Server, tmp_path: Path
) -> None:
    names = [str(page.relative_to(site)) for page in pages]
    look = LOOK.replace("WIDTHS", json.dumps(WIDTHS)).replace("PAGES", json.dumps(names))
    (site / "look.html").write_text(look, encoding="utf-8")
    log = tmp_path / "log"
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    # The page hands in what it saw; --dump-dom would need virtual time, which stands still where the machine is busy.
    with log.open("w", encoding="utf-8") as stream:
        command = [
            str(CHROMIUM),
            *FLAGS,
            "--enable-logging=stderr",
            profile,
            "--window-size=1400,1000",
            f"{server.address}look.html",
        ]
        browser = subprocess.Popen(command, stdout=stream, stderr=stream, cwd=tmp_path)
        try:
            seen = json.loads(server.handed_in.get(timeout=PATIENCE))
        except queue.Empty:
            pytest.fail(f"the browser handed in nothing in {PATIENCE} s: {log.read_text(encoding='utf-8')[-2000:]}")
        finally:
            browser.terminate()
            browser.wait(timeout=60)
    assert {(entry["page"], entry["width"]) for entry in seen} == {(name, width) for width in WIDTHS for name in names}
    assert [entry for entry in seen if entry["scroll"] > entry["width"]] == [], "a page scrolls sideways"
    assert [entry for entry in seen if entry["blank"]] == [], "a picture is missing"
    assert [entry for entry in seen if entry["text"] < 100 or not entry["title"]] == [], "a page is empty"
    complaints = [line for line in log.read_text(encoding="utf-8").splitlines() if "CONSOLE" in line]
    assert complaints == []
