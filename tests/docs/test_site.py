"""The site is built without a warning, every link in it leads somewhere, and a browser shows it on wide and narrow screens."""

import runpy
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]


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


def test_no_page_loads_anything_from_elsewhere(pages: dict[Path, Links]) -> None:
    assert {target for links in pages.values() for target in links.loaded if urlsplit(target).netloc} == set()


def test_doctests_are_blocks_of_code() -> None:
    fenced = runpy.run_path(str(ROOT / "scripts" / "site_griffe.py"))["fenced"]
    text = "The sum.\n\n>>> x = (\n...     1\n... )\n>>> x + 1\n2\n\nMore.\n"
    assert fenced(text) == "The sum.\n\n```pycon\n>>> x = (\n...     1\n... )\n>>> x + 1\n2\n```\n\nMore.\n"
