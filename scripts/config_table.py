"""The README's table of run-config keys: `python -m scripts.config_table` rewrites it."""

import tomllib
from typing import Any

from fl_app.config import RunConfig
from scripts.marked_tables import PROJECT, write_table

DOCUMENT, NAME = "README.md", "run config"


def config_table() -> str:
    """Return a Markdown table of every key with its default and its description."""
    with (PROJECT / "pyproject.toml").open("rb") as file:
        defaults: dict[str, Any] = tomllib.load(file)["tool"]["flwr"]["app"]["config"]
    rows = ["| key | default | what it does |", "| --- | --- | --- |"]
    for field in RunConfig.model_fields.values():
        value = defaults[str(field.alias)]
        shown = f'"{value}"' if isinstance(value, str) else str(value).lower()
        description = (field.description or "").replace("|", "\\|")
        rows.append(f"| `{field.alias}` | `{shown}` | {description} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    write_table(DOCUMENT, NAME, config_table())
