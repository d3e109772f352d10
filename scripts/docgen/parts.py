"""The list of parts by name: `python -m scripts.docgen.parts` rewrites it.

What it says is in the signatures and docstrings of the parts: the first sentence, what is said
of each option under `Attributes` or `Args`, and the source.
"""

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

from flwr.server.strategy import FedAvg

from scripts.docgen.marked_tables import write_table
from strategies.delta_fedavg import DeltaFedAvg
from strategies.registry import PARTS, Option

DOCUMENT, NAME = "strategies/README.md", "parts"

_KINDS = {
    "aggregator": ("aggregator",),
    "server-optimizer": ("server-optimizer",),
    "codec": ("codec",),
    "server-lr-schedule": ("server-lr-schedule", "lr-schedule"),
    "adversary": ("adversary",),
    "strategy": ("strategy",),
}
"""In the order in which they are listed, the run-config keys that share a list."""

_ELSEWHERE = {
    name for strategy in (FedAvg, DeltaFedAvg) for name in inspect.signature(strategy).parameters
}
"""Arguments of strategies that have run-config keys of their own."""


def parts_table() -> str:
    """Return a Markdown table of every kind, with a row per part."""
    return "\n".join(
        f"\n**{', '.join(f'`{key}`' for key in keys)}**\n\n{_table_of(kind)}"
        for kind, keys in _KINDS.items()
    )


def _table_of(kind: str) -> str:
    rows = ["| name | options | what it is | source |", "| --- | --- | --- | --- |"]
    for name, path in PARTS[kind].items():
        part = _load(path)
        text = inspect.getdoc(part) or ""
        cells = [f"`{name}`", "<br>".join(_options(part, text)), _summary(text), _source(text)]
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows) + "\n"


def _load(path: str) -> Any:  # noqa: ANN401 - a class or a function of any kind
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _options(part: Any, text: str) -> Iterator[str]:  # noqa: ANN401
    """Return each option that a run config can give, with its default and what it is."""
    for parameter in inspect.signature(part).parameters.values():
        if parameter.name not in _ELSEWHERE and isinstance(parameter.default, Option):
            said = _said_of(parameter.name, text)
            yield f"`{parameter.name}={parameter.default!r}`{said and ': '}{said}"


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
