"""Links between pages lead somewhere: to a file that is there, and to a heading that it has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page for pattern in ("*.md", "docs/**/*.md", "benchmarks/**/*.md") for page in ROOT.glob(pattern)
)
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]+`")
NAMED = re.compile(r"\bdocs/[\w/-]+\.md\b")


def without_code(text: str) -> str:
    return CODE.sub("", FENCED.sub("", text))


def anchors(page: Path) -> set[str]:
    """What its headings are called in an address, as GitHub does it; the second of a name has "-1" behind it."""
    found: set[str] = set()
    for title in re.findall(r"^#{1,6}\s+(.+?)\s*#*$", FENCED.sub("", page.read_text()), re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        name = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        count = 0
        while (one := f"{name}-{count}" if count else name) in found:
            count += 1
        found.add(one)
    return found


def broken(page: Path) -> list[str]:
    """Links of a page that lead nowhere."""
    wrong = []
    for target in LINK.findall(without_code(page.read_text())):
        path, _, heading = target.partition("#")
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        there = (page.parent / path) if path else page
        if not there.exists() or (heading and (there.suffix != ".md" or heading not in anchors(there))):
            wrong.append(target)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    assert not broken(page)


def test_pages_that_are_named_are_there() -> None:
    """In pages, docstrings and messages, such as `docs/datasets.md`."""
    sources = [*PAGES, *(ROOT / "src").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    named = {(name, path) for path in sources for name in NAMED.findall(path.read_text())}
    assert len(named) > 10
    assert not sorted(
        f"{path.relative_to(ROOT)}: {name}" for name, path in named if not (ROOT / name).is_file()
    )


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop().resolve()
        if page in seen or page.suffix != ".md" or not page.is_file():
            continue
        seen.add(page)
        targets = (target.partition("#")[0] for target in LINK.findall(without_code(page.read_text())))
        todo += [page.parent / target for target in targets if ":" not in target]
    lost = {page for page in PAGES if page.is_relative_to(ROOT / "docs")} - seen
    assert not sorted(str(page.relative_to(ROOT)) for page in lost)


def test_what_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# A `b`, or c?\n\n```\n# no heading\n```\n## Same\n## Same\n")
    page = tmp_path / "a.md"
    good = ["b.md#a-b-or-c", "b.md#same-1", "https://example.org/x", "#own"]
    bad = ["c.md", "b.md#no-heading", "b.md#same-2", "#other"]
    page.write_text("# Own\n" + "\n".join(f"[x]({one})" for one in good + bad) + "\n`[x](code.md)`\n")
    assert broken(page) == bad
