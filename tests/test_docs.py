"""The pages: what they link and name exists, the front page is short, the index is complete."""

import re
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from scripts.repository import REPOSITORY

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FILE = re.compile(r"(?<![\w./~<$-])((?:[\w.-]+/)+[\w-]+\.(?:py|md|toml|sh))\b")
_MODULE = re.compile(r"python -m ([\w.]+)")
_COMMAND = re.compile(r"\bscripts/(\w+)(?![\w/.])")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def tracked_pages() -> list[Path]:
    """Every Markdown file that git knows, or would know if it were added."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:  # an unpacked archive has no history
        folders = ("", "docs", "strategies")
        return [page for folder in folders for page in sorted((REPOSITORY / folder).glob("*.md"))]
    return [path for name in listed.stdout.split() if (path := REPOSITORY / name).is_file()]


every_page = pytest.mark.parametrize(
    "page", tracked_pages(), ids=lambda page: page.relative_to(REPOSITORY).as_posix()
)


def anchor(heading: str) -> str:
    """The name that a heading has in a link, as GitHub makes it."""
    kept = re.sub(r"[^\w\s-]", "", heading.strip().lower())
    return kept.replace(" ", "-")


def anchors(page: Path) -> set[str]:
    """The names of a page's headings; what looks like one in code is none."""
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    return {anchor(heading) for heading in _HEADING.findall(text)}


def broken_links(page: Path, text: str) -> Iterator[str]:
    """The relative links of a page that lead nowhere."""
    for link in _LINK.findall(_CODE.sub("", text)):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        lost = heading and (target.suffix != ".md" or heading not in anchors(target))
        if not target.exists() or lost:
            yield link


def missing_names(page: Path, text: str) -> Iterator[str]:
    """Files, modules and commands of the project that a page names and that are not there.

    A file is named by its path from the project's folder, or from the page's own.
    """
    # An address, and what a link leads to, are no names.
    prose = re.sub(r"\]\([^)]*\)|https?://\S+", "]", text)
    for name in _FILE.findall(prose):
        if not any((folder / name).exists() for folder in (REPOSITORY, page.parent)):
            yield name
    for name in _MODULE.findall(prose):
        if find_spec(name) is None:
            yield name
    for name in _COMMAND.findall(prose):
        if not (REPOSITORY / "scripts" / name).exists():
            yield f"scripts/{name}"


def test_the_pages_are_found():
    names = {page.relative_to(REPOSITORY).as_posix() for page in tracked_pages()}

    assert {"README.md", "docs/deployment.md", "strategies/README.md"} <= names


@every_page
def test_every_relative_link_leads_to_a_file_and_to_a_heading(page: Path):
    assert list(broken_links(page, page.read_text(encoding="utf-8"))) == []


@every_page
def test_every_file_module_and_command_that_a_page_names_is_there(page: Path):
    assert list(missing_names(page, page.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "text",
    [
        "see [the page](nowhere.md)",
        "see [the heading](docs/limits.md#no-such-heading)",
        "see [here](#no-such-heading)",
        "![a picture](docs/nowhere.png)",
        "`fl_app/core/nowhere.py` has it",
        "look at strategies/nowhere.md",
        "`python -m scripts.deployment.nowhere`",
        "run `scripts/nowhere --help`",
    ],
)
def test_what_is_not_there_is_noticed(text: str):
    page = REPOSITORY / "README.md"

    assert [*broken_links(page, text), *missing_names(page, text)] != []


@pytest.mark.parametrize(
    "text",
    [
        "[a page](docs/limits.md#limits), [a file](fl_app/server_app.py)",
        "[elsewhere](https://a.b/c.md)",
        "a file of yours: `/home/me/net.py:Net`, `~/net.py`",
        "`scripts/run`, `python -m scripts.docgen.parts`, `scripts/presets/quick.toml`",
        "```toml\n[section](of-a-file)\n```",
    ],
)
def test_what_is_there_or_belongs_to_the_reader_passes(text: str):
    page = REPOSITORY / "README.md"

    assert [*broken_links(page, text), *missing_names(page, text)] == []


def test_the_front_page_is_short():
    lines = (REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()

    assert len(lines) <= 200


def test_the_index_links_every_page():
    docs = REPOSITORY / "docs"
    index = (docs / "README.md").read_text(encoding="utf-8")

    pages = {page.name for page in docs.glob("*.md")} - {"README.md"}
    linked = {link.partition("#")[0] for link in _LINK.findall(index)}
    assert pages - linked == set()
