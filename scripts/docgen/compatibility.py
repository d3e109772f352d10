"""The table of what cannot be combined: `python -m scripts.docgen.compatibility` rewrites it."""

from fl_app.experiment.compatibility import compatibility_table
from scripts.docgen.marked_tables import write_table

DOCUMENT, NAME = "strategies/README.md", "compatibility"

if __name__ == "__main__":
    write_table(DOCUMENT, NAME, compatibility_table())
