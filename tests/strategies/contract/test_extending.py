"""What the pages on parts of your own say is done to the letter: files, commands, the app."""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fl_app.tasks.registry import MODELS
from scripts.analysis import contract
from scripts.launcher.options import plan_launch
from scripts.repository import REPOSITORY
from strategies.contract import kinds_with_laws
from strategies.part_kinds import KINDS
from tests.support.linear_model import Linear
from tests.support.local_run import run_app, summary_of

# Flower's command line, which reads run configs, imports what its own dependency deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:'click:DeprecationWarning")

README = (REPOSITORY / "strategies/README.md").read_text(encoding="utf-8")
FRONT_PAGE = (REPOSITORY / "README.md").read_text(encoding="utf-8")
OWN_PAGE = (REPOSITORY / "docs/own-models-and-data.md").read_text(encoding="utf-8")
HOME = "/home/me"


@dataclass(frozen=True)
class Example:
    """A file that a page shows, and the commands below it."""

    name: str
    code: str
    commands: list[list[str]]

    def arguments(self, command: str, home: Path) -> list[list[str]]:
        """The arguments of each call of a command, with the file where it is here."""
        return [
            [argument.replace(HOME, str(home)) for argument in arguments]
            for program, *arguments in self.commands
            if program == command
        ]


def examples() -> list[Example]:
    shown = rf"```python\n# {HOME}/(\S+)\n(.*?)```\n+```sh\n(.*?)```"
    return [
        Example(name, code, [shlex.split(line, comments=True) for line in commands.splitlines()])
        for name, code, commands in re.findall(shown, FRONT_PAGE + README + OWN_PAGE, re.DOTALL)
    ]


every_example = pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)


@pytest.fixture
def small(run_config, monkeypatch, no_pictures) -> dict[str, Any]:
    monkeypatch.setitem(MODELS, "linear", Linear)
    changes = {"model": "linear", "tensorboard": False, "num-participants": 5}
    config: dict[str, Any] = run_config | changes
    return config


def asked_for(arguments: list[str]) -> dict[str, Any]:
    """What a command line of scripts/run changes of the run config, beside how much it trains."""
    preset = plan_launch([], Path.cwd()).overrides
    overrides = plan_launch(arguments, Path.cwd()).overrides
    return {key: value for key, value in overrides.items() if preset.get(key) != value}


def digest(directory: Path) -> str:
    weights: str = summary_of(directory)["sha256"]["weights"]
    return weights


def test_each_kind_of_part_has_its_example():
    shown = " ".join(" ".join(command) for e in examples() for command in e.commands)

    for kind in KINDS:
        # A task has a page of its own, docs/tasks.md.
        assert f'{kind}="{HOME}/' in shown or kind in ("server-lr-schedule", "task")
    assert len(examples()) == 1 + (README + OWN_PAGE).count("```python")


@every_example
def test_an_example_takes_some_twenty_lines(example: Example):
    assert len(example.code.strip().splitlines()) <= 30


@every_example
def test_a_run_uses_a_part_from_a_users_own_file(small, example, tmp_path):
    (tmp_path / example.name).write_text(example.code, encoding="utf-8")
    (changes,) = [
        change
        for change in map(asked_for, example.arguments("scripts/run", tmp_path))
        if str(tmp_path / example.name) in str(change)
    ]
    assert 1 <= len(changes) <= 2

    plain, own = run_app(small), run_app(small | changes)

    summary = summary_of(own)
    assert summary["reason"] == "all 2 rounds are done"
    assert summary["failures"] == 0
    assert summary["central"]["loss"] is not None
    assert digest(own) != digest(plain)


@every_example
def test_the_contract_accepts_the_examples(example, tmp_path, capsys):
    (tmp_path / example.name).write_text(example.code, encoding="utf-8")
    calls = example.arguments("scripts/contract", tmp_path)
    assert calls or not any(f"{kind}=" in str(example.commands) for kind in kinds_with_laws())

    for arguments in calls:
        assert contract.main(arguments) == 0, capsys.readouterr().out


@pytest.mark.parametrize("strategy", KINDS["strategy"].names)
def test_every_strategy_named_serves_a_round(small, strategy):
    directory = run_app(small | {"strategy": strategy, "num-server-rounds": 1})

    assert summary_of(directory)["failures"] == 0
    before, after = (
        row["central"]
        for row in map(json.loads, (directory / "metrics.jsonl").read_text().splitlines())
        if row["kind"] == "round"
    )
    assert after["loss"] is not None
    assert after["loss"] != before["loss"]
