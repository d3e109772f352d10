"""What the docs and pyproject.toml say of the run config: `python -m scripts.docgen.config`.

The keys are described in `fl_app.core.run_config_keys`. The command rewrites the defaults in
pyproject.toml and the tables of docs/configuration.md.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from fl_app.core.run_config import RunConfig
from fl_app.core.run_config_keys.key import said_of
from scripts.docgen.marked_tables import write_table
from scripts.launcher.run_config import Value, as_toml
from scripts.repository import REPOSITORY
from strategies.part_kinds import KINDS

DOCUMENT, NAME = "docs/configuration.md", "run config"
PYPROJECT = "pyproject.toml"

_BLOCK = re.compile(r"(?<=^\[tool\.flwr\.app\.config\]\n).*?(?=^\[)", re.MULTILINE | re.DOTALL)
_BOUNDS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}


def config_table() -> str:
    """Return Markdown tables of every key, one for each section."""
    lines = []
    for section, fields in _sections().items():
        lines += [f"\n## {section}\n", "| key | default | allowed | on resume | what it does |"]
        lines += ["| --- | --- | --- | --- | --- |", *map(_row, fields)]
    return "\n".join(lines) + "\n\n"


def config_block() -> str:
    """Return the lines below `[tool.flwr.app.config]` in pyproject.toml."""
    sections = (
        f"# {section}\n" + "".join(map(_toml_line, fields))
        for section, fields in _sections().items()
    )
    return "".join(sections) + "\n"


def with_block(pyproject: str) -> str:
    """Return the text of pyproject.toml with the defaults of the keys."""
    block = config_block()
    replaced, count = _BLOCK.subn(lambda _: block, pyproject)
    if count != 1:
        raise ValueError(f"{PYPROJECT} has {count} sections of the run config, not one")
    return replaced


def allowed_values(field: FieldInfo) -> str:
    """Return what a key can be, in words: of a number the range, of a part the names."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(f'"{value}"' for value in get_args(field.annotation))
    if field.annotation is bool:
        return "true, false"
    if kind := KINDS.get(str(field.alias)):
        further = () if kind.catalogue is None else (kind.catalogue.what,)
        return ", ".join((*kind.words, *kind.names, *further, "or the path of yours"))
    if field.annotation is str:
        return "a text"
    bounds = ", ".join(_bounds(field))
    number = "a whole number" if field.annotation is int else "a number"
    return f"{number}, {bounds}" if bounds else number


def _bounds(field: FieldInfo) -> Iterator[str]:
    for constraint in field.metadata:
        for name, words in _BOUNDS.items():
            if (limit := getattr(constraint, name, None)) is not None:
                shown = "2^63" if limit == 2**63 else f"{limit:g}"
                yield words.format(shown)


def _sections() -> Mapping[str, list[FieldInfo]]:
    sections: dict[str, list[FieldInfo]] = {}
    heading = ""
    for field in RunConfig.model_fields.values():
        heading = said_of(field, "section") or heading
        sections.setdefault(heading, []).append(field)
    return sections


def _row(field: FieldInfo) -> str:
    default: Value = said_of(field, "default")
    shown = f'"{default}"' if isinstance(default, str) else str(default).lower()
    resume = "may change" if said_of(field, "may-change") else "stays"
    says = (field.description or "").replace("|", "\\|")
    return f"| `{field.alias}` | `{shown}` | {allowed_values(field)} | {resume} | {says} |"


def _toml_line(field: FieldInfo) -> str:
    key = str(field.alias)
    return as_toml({key: said_of(field, "default")}).replace(f'"{key}"', key, 1)


if __name__ == "__main__":
    write_table(DOCUMENT, NAME, config_table())
    path = REPOSITORY / PYPROJECT
    path.write_text(with_block(path.read_text(encoding="utf-8")), encoding="utf-8")
