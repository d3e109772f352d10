"""The results in docs/studies.md: `python -m scripts.studies.page` makes them of docs/*.json."""

import json

from scripts.docgen.marked_tables import write_table
from scripts.repository import REPOSITORY
from scripts.studies.definitions import STUDIES
from scripts.studies.tables import study_table

DOCUMENT = "docs/studies.md"


def results(study: str) -> str:
    """Return picture and table of what `scripts/study STUDY --output docs` has saved."""
    path = REPOSITORY / "docs" / f"{study}.json"
    if not path.exists():
        return "Not measured yet.\n"
    runs = json.loads(path.read_text(encoding="utf-8"))["runs"]
    table = study_table(STUDIES[study], {name: run["rounds"] for name, run in runs.items()})
    return f"![{STUDIES[study].title}]({study}.png)\n\n{table}\n"


if __name__ == "__main__":
    for name in STUDIES:
        write_table(DOCUMENT, name, results(name))
