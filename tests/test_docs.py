"""The pages: short, reachable from the README, and every link between them leads somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "results").glob("*.md")),
]
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")


def links(page: Path) -> list[tuple[str, str]]:
    """Files and headings that a page links to, those of the web left out; code is no link."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.S)
    return [(file, heading) for file, heading in LINK.findall(text) if "://" not in file]


def headings(page: Path) -> set[str]:
    """The names of a page's headings in links."""
    named = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", name.lower()).strip().replace(" ", "-") for name in named}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for file, heading in links(page):
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), file
        if heading:
            assert heading in headings(target), heading


def test_every_page_of_docs_is_linked_and_read_in_one_sitting():
    linked = {(page.parent / file).resolve() for page in PAGES for file, _ in links(page) if page.parent.name != "results"}
    for page in (ROOT / "docs").glob("*.md"):
        assert page.resolve() in linked
        assert len(page.read_text().splitlines()) <= 300


def test_the_readme_is_read_in_two_minutes():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
