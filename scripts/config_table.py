"""The README's table of run-config keys: `python -m scripts.config_table` rewrites it."""

import re
import tomllib
from pathlib import Path
from typing import Any

from fl_app.config import RunConfig

PROJECT = Path(__file__).resolve().parents[1]
_TABLE = re.compile(r"(<!-- run config -->\n).*?(<!-- end of run config -->)", re.DOTALL)


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


def with_table(readme: str) -> str:
    """Return the README's text with the table as it should be."""
    return _TABLE.sub(lambda found: found[1] + config_table() + found[2], readme)


if __name__ == "__main__":
    path = PROJECT / "README.md"
    path.write_text(with_table(path.read_text(encoding="utf-8")), encoding="utf-8")
