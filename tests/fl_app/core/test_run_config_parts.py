"""Keys that name a part: refused before a run begins, without importing anything."""

import subprocess
import sys

import pytest

from fl_app.core.run_config import RunConfig
from scripts.repository import REPOSITORY
from strategies.part_kinds import KINDS
from tests.fl_app.core.refused_config import DEFAULTS, refusal


def test_an_unknown_word_is_refused_with_the_words_there_are():
    message = refusal({"device": "nonsense"})

    assert message.startswith("run config: device = 'nonsense' is not allowed; it must be '")
    assert f"'{DEFAULTS['device']}'" in message


@pytest.mark.parametrize("key", KINDS)
def test_an_unknown_part_is_refused_with_the_names_there_are_and_how_yours_is_named(key):
    nearly = DEFAULTS[key][:-1]

    message = refusal({key: nearly})

    assert message.startswith(
        f'run config: {key} = "{nearly}" is not known; did you mean {DEFAULTS[key]}? the names are '
    )
    assert all(name in message for name in (*KINDS[key].words, *KINDS[key].names))
    assert message.endswith(
        "and one of your own is named by its import path, "
        '"my_package.my_module:MyPart", or its file, "/home/me/my_parts.py:MyPart"'
    )
    assert "did you mean" not in refusal({key: "zzz"})


@pytest.mark.parametrize("key", KINDS)
@pytest.mark.parametrize(
    "value", ["", "mine(1)", "mine(a=b)", "/home/me/mine.py", "mine:a.b", "mine.py:Mine"]
)
def test_what_can_be_no_part_is_refused_before_anything_is_imported(key, value):
    message = refusal({key: value})

    assert message.startswith(f'run config: {key} = "')
    assert "\n" not in message


@pytest.mark.parametrize("key", KINDS)
@pytest.mark.parametrize("value", ["/home/me/mine.py:Mine(strength=2)", "no_such_module:Mine"])
def test_a_part_of_ones_own_is_taken_without_importing_it(key, value):
    assert RunConfig.from_run_config(DEFAULTS | {key: value}).as_run_config()[key] == value


def test_to_check_a_run_config_needs_neither_torch_nor_flower():
    code = (
        "import sys; from fl_app.core.run_config import RunConfig; "
        f"RunConfig.from_run_config({DEFAULTS!r}); "
        "print(sorted({'torch', 'flwr', 'numpy'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True)

    assert done.stdout == b"[]\n", done.stderr
