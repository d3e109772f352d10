"""The tables of docs/studies.md: `python -m scripts.studies_page` makes them of docs/*.json."""

import json

from scripts.marked_tables import PROJECT, write_table
from scripts.studies import STUDIES
from scripts.study_tables import study_table

DOCUMENT = "docs/studies.md"


def saved_table(study: str) -> str:
    """Return the table of a study that `scripts/study STUDY --output docs` has saved."""
    path = PROJECT / "docs" / f"{study}.json"
    runs = json.loads(path.read_text(encoding="utf-8"))["runs"]
    results = {name: run["rounds"] for name, run in runs.items()}
    return study_table(STUDIES[study], results) + "\n"


if __name__ == "__main__":
    for name in STUDIES:
        write_table(DOCUMENT, name, saved_table(name))
