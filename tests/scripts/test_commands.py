"""The commands in `scripts/`: each starts a module that there is."""

import importlib.util
import re
from pathlib import Path

import pytest

from scripts.repository import REPOSITORY

COMMANDS = sorted(
    path
    for path in (REPOSITORY / "scripts").iterdir()
    if path.is_file() and not path.suffix and "-P -m scripts" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda path: path.name)
def test_a_command_starts_a_module_that_there_is(command):
    found = re.search(r"-P -m (scripts\.\S+)", command.read_text(encoding="utf-8"))

    assert found
    spec = importlib.util.find_spec(found[1])
    assert spec is not None
    assert spec.origin is not None
    assert 'if __name__ == "__main__":' in Path(spec.origin).read_text(encoding="utf-8")


def test_all_commands_are_looked_at():
    assert {"run", "federation", "doctor", "compare", "study"} <= {c.name for c in COMMANDS}
