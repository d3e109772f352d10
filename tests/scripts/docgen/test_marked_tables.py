"""The tables in the docs say what the code says, and one mechanism puts them there."""

from types import ModuleType

import pytest

from fl_app.core.run_config import DEFAULTS
from fl_app.experiment.compatibility import compatibility_table
from scripts.docgen import compatibility as compatibility
from scripts.docgen import config, parts
from scripts.docgen.marked_tables import with_table
from scripts.repository import REPOSITORY
from scripts.studies import page
from scripts.studies.definitions import STUDIES
from strategies.part_kinds import KINDS

TABLES = [
    (config, config.config_table),
    (parts, parts.parts_table),
    (compatibility, compatibility_table),
]


@pytest.mark.parametrize(("script", "table"), TABLES, ids=lambda part: part.__name__)
def test_the_docs_are_up_to_date(script: ModuleType, table):
    text = (REPOSITORY / script.DOCUMENT).read_text(encoding="utf-8")

    assert with_table(text, script.NAME, table()) == text, f"run: python -m {script.__name__}"


def test_pyproject_is_up_to_date():
    text = (REPOSITORY / config.PYPROJECT).read_text(encoding="utf-8")

    assert config.with_block(text) == text, f"run: python -m {config.__name__}"


def test_a_default_that_was_changed_by_hand_is_put_right_and_nothing_else():
    text = (REPOSITORY / config.PYPROJECT).read_text(encoding="utf-8")
    changed = text.replace("\nseed = 42\n", "\nseed = 43\nnope = 1\n")

    assert changed != text
    assert config.with_block(changed) == text
    with pytest.raises(ValueError, match="has 0 sections"):
        config.with_block("[project]\n")


def test_every_key_is_listed_with_its_default_what_is_allowed_and_whether_it_may_change():
    rows = {line.split("`")[1]: line for line in config.config_table().splitlines() if "`" in line}

    assert list(rows) == list(DEFAULTS)
    assert "| `0.6` | a number, above 0.5, at most 1 | stays |" in rows["secure-threshold"]
    assert "| `42` | a whole number, at least 0, below 2^63 | stays |" in rows["seed"]
    assert '| `"auto"` | "auto", "central", "federated" | may change |' in rows["monitor"]
    assert "| auto, own, mnist, fashion-mnist, digits, or the path of yours |" in rows["dataset"]


@pytest.mark.parametrize("study", STUDIES)
def test_the_page_of_the_studies_is_up_to_date(study):
    text = (REPOSITORY / page.DOCUMENT).read_text(encoding="utf-8")

    assert with_table(text, study, page.results(study)) == text, f"run: python -m {page.__name__}"


def test_a_table_replaces_what_is_between_its_marks_and_nothing_else():
    text = "a\n<!-- t -->\nold\n\\1\n<!-- end of t -->\nb\n<!-- u -->\n<!-- end of u -->\n"

    replaced = with_table(text, "t", "| \\1 |\n")

    assert replaced == text.replace("old\n\\1\n", "| \\1 |\n")
    assert with_table(replaced, "t", "old\n\\1\n") == text


@pytest.mark.parametrize("times", [0, 2])
def test_marks_that_are_not_there_once_are_refused(times):
    text = "<!-- t -->\n<!-- end of t -->\n" * times

    with pytest.raises(ValueError, match=f"the table t are there {times} times"):
        with_table(text, "t", "")


def test_every_part_is_listed_with_its_options_and_its_paper():
    table = parts.parts_table()

    rows = [line for line in table.splitlines() if line.startswith("| `")]
    shared = len(KINDS["lr-schedule"].names)  # with server-lr-schedule
    assert len(rows) == sum(len(kind.names) for kind in KINDS.values()) - shared
    (krum,) = [row for row in rows if row.startswith("| `krum`")]
    assert "`num_malicious=1`: f, the most participants that may lie" in krum
    assert krum.endswith("Blanchard et al., NeurIPS 2017, arXiv:1703.02757 |")
    (delta_fedavg,) = [row for row in rows if row.startswith("| `delta-fedavg`")]
    assert "seed" not in delta_fedavg  # has a run-config key of its own


def test_every_part_says_what_it_is():
    for row in parts.parts_table().splitlines():
        if row.startswith("| `"):
            assert len(row.split(" | ")[2].split()) >= 3, row
