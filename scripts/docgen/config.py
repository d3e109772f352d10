"""The README's table of run-config keys: `python -m scripts.docgen.config` rewrites it."""

from fl_app.core.run_config_keys import RunConfig
from scripts.docgen.marked_tables import write_table
from scripts.repository import default_run_config

DOCUMENT, NAME = "README.md", "run config"


def config_table() -> str:
    """Return a Markdown table of every key with its default and its description."""
    defaults = default_run_config()
    rows = ["| key | default | what it does |", "| --- | --- | --- |"]
    for field in RunConfig.model_fields.values():
        value = defaults[str(field.alias)]
        shown = f'"{value}"' if isinstance(value, str) else str(value).lower()
        description = (field.description or "").replace("|", "\\|")
        rows.append(f"| `{field.alias}` | `{shown}` | {description} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    write_table(DOCUMENT, NAME, config_table())
