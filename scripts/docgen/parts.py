"""The list of parts by name: `python -m scripts.docgen.parts` rewrites it.

What it says is in the signatures and docstrings of the parts: the first sentence, what is said
of each option under `Attributes` or `Args`, and the source.
"""

import inspect
import re
from collections.abc import Iterator
from typing import Any

from flwr.server.strategy import FedAvg

import fl_app.core.plugins  # noqa: F401 - declares the kinds of the application
from scripts.docgen.marked_tables import write_table
from strategies.delta_fedavg import DeltaFedAvg
from strategies.part_imports import import_part
from strategies.part_kinds import KINDS, Entry, Kind, Option

DOCUMENT, NAME = "strategies/README.md", "parts"

_ELSEWHERE = {
    name for strategy in (FedAvg, DeltaFedAvg) for name in inspect.signature(strategy).parameters
}
"""Arguments of strategies that have run-config keys of their own."""


def parts_table() -> str:
    """Return a Markdown table of every kind, with a row per part; kinds may share one."""
    sharing: dict[int, list[Kind]] = {}
    for kind in KINDS.values():
        sharing.setdefault(id(kind.names), []).append(kind)
    return "\n".join(
        f"\n**{', '.join(f'`{kind.key}`' for kind in kinds)}**\n\n{_table_of(kinds[0])}"
        for kinds in sharing.values()
    )


def _table_of(kind: Kind) -> str:
    rows = ["| name | options | what it is | source |", "| --- | --- | --- | --- |"]
    for name in kind.names:
        entry = kind.entry(name)
        part = import_part(entry.target) if isinstance(entry.target, str) else entry.target
        text = inspect.getdoc(part) or ""
        options = "<br>".join(_options(entry, part, text))
        cells = [f"`{name}`", options, _summary(text), _source(text)]
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows) + "\n"


def _options(entry: Entry, part: Any, text: str) -> Iterator[str]:  # noqa: ANN401
    """Return each option that a run config can give, with its default and what it is."""
    for parameter in inspect.signature(part).parameters.values():
        if parameter.name not in _ELSEWHERE and isinstance(parameter.default, Option):
            said = _said_of(parameter.name, text)
            yield f"`{parameter.name}={parameter.default!r}`{said and ': '}{said}"
    for option, key in entry.keys.items():
        yield f"`{option}`: if not given, `{key}`"


def _said_of(option: str, text: str) -> str:
    """Return what a docstring in Google's style says of an option."""
    found = re.search(rf"^    {option}: (.*?)(?=\n    \S|\n\S|\n\n|\Z)", text, re.M | re.S)
    return _one_line(found[1]) if found else ""


def _summary(text: str) -> str:
    return _one_line(re.split(r"\n\s*\n", text, maxsplit=1)[0])


def _source(text: str) -> str:
    found = re.search(r"(?:^Source: |based on:? )(.*?)(?=\n\s*\n|\Z)", text, re.M | re.S)
    return _one_line(found[1]).rstrip(".") if found else ""


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


if __name__ == "__main__":
    write_table(DOCUMENT, NAME, parts_table())
