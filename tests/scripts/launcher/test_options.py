"""What the launcher's options come to."""

import os
import tomllib
from pathlib import Path

import pytest

from scripts.launcher.options import UsageError, plan_launch
from scripts.repository import REPOSITORY
from tests.scripts.launcher.toy_app import plan


def test_the_quick_preset_is_the_default(app: Path) -> None:
    quick = tomllib.loads((REPOSITORY / "scripts/presets/quick.toml").read_text(encoding="utf-8"))

    assert plan(app).overrides == quick | {"output-dir": str(REPOSITORY / "results")}
    assert plan(app) == plan(app, "--preset", "quick")


def test_reference_is_short_for_the_reference_preset(app: Path) -> None:
    assert plan(app, "--reference") == plan(app, "--preset", "reference")
    assert plan(app, "--reference").overrides["num-server-rounds"] == 10
    assert plan(app, "--reference").overrides["local-epochs"] == 10


def test_a_later_override_wins_over_an_earlier_one_and_over_the_preset(app: Path) -> None:
    overrides = plan(app, "-c", "local-epochs=5 model='a b'", "-c", "local-epochs=6").overrides

    assert overrides["local-epochs"] == 6
    assert overrides["model"] == "a b"


def test_a_key_given_twice_in_one_place_is_told(app: Path) -> None:
    (app.parent / "mine.toml").write_text("local-epochs = 5\nlocal-epochs = 6\n")

    with pytest.raises(UsageError, match=r"sets local-epochs twice; keep one of them"):
        plan(app, "-c", "local-epochs=5 local-epochs=6")
    with pytest.raises(UsageError, match=r"line 2.*the key is there twice, keep one of them"):
        plan(app, "-c", "mine.toml")


def test_a_toml_file_and_pairs_can_be_combined(app: Path) -> None:
    (app.parent / "mine.toml").write_text("local-epochs = 5\nlearning-rate = 0.1\n")

    overrides = plan(app, "-c", "mine.toml", "--run-config", "learning-rate=0.2").overrides

    assert overrides["local-epochs"] == 5
    assert overrides["learning-rate"] == 0.2


def test_supernodes_follow_the_number_of_participants_however_it_is_set(app: Path) -> None:
    assert plan(app).num_supernodes == 4
    assert plan(app, "-c", "num-participants=6").num_supernodes == 6
    by_name = plan(app, "--participants", "8", "-c", "num-participants=6")
    assert by_name.num_supernodes == by_name.overrides["num-participants"] == 8


def test_relative_paths_are_those_of_the_users_folder(app: Path) -> None:
    overrides = plan(app, "--output-dir", "out", "-c", "data-dir='../d'").overrides

    assert overrides["output-dir"] == str(app.parent / "out")
    assert overrides["data-dir"] == str(app.parent.parent / "d")


def test_resources_reach_the_federation_config(app: Path) -> None:
    config = plan(app, "--gpus-per-client", "0.25").federation_config

    assert config == ("num-supernodes=4 client-resources-num-cpus=1 client-resources-num-gpus=0.25")


def test_unknown_arguments_go_to_flwr_run(app: Path) -> None:
    assert plan(app, "--federation", "@me/f").flwr_arguments == ("--federation", "@me/f")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-c", "num-server-round=1"], "did you mean 'num-server-rounds'"),
        (["-c", "zzz=1"], "the keys are num-server-rounds, "),
        (["-c", "model=simple-cnn"], "texts in double quotes"),
        (["-c", "local-epochs 3"], "not of the form key=value"),
        (["-c", "behaviour=True"], "cannot read behaviour=True: write true, in lower case"),
        (["-c", "learning-rate=.01"], "learning-rate=.01: write 0.01, with a digit on both"),
        (["-c", "learning-rate=-1."], "learning-rate=-1.: write -1.0, with a digit on both"),
        (["-c", "local-epochs=007"], "local-epochs=007: write numbers without a zero in front"),
        (["-c", "model=None"], "model=None: there is no such value; leave the key out"),
        (["-c", "missing.toml"], "cannot read .*missing.toml: No such file"),
        (["--cpus-per-client", "100000"], "more than this machine's"),
        (["--app", "nowhere"], "holds no Flower app"),
    ],
)
def test_a_mistake_is_told_in_one_line(app: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        plan(app, *arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"local-epochs = 1\nlearning-rate = .01\n", r"line 2.*write 0\.01, with a digit"),
        (b"model = True  # yes\n", r"line 1.*write true, in lower case"),
        (b"local-epochs = [1]\n", "local-epochs is no number, no text, and neither true nor"),
        (b"model = '\xff'\n", r"is not UTF-8 text \(byte 9\); save it as UTF-8"),
    ],
)
def test_what_is_wrong_with_a_toml_file_is_told_in_one_line(
    app: Path, content: bytes, message: str
) -> None:
    (app.parent / "mine.toml").write_bytes(content)

    with pytest.raises(UsageError, match=rf"cannot read .*mine\.toml: .*{message}") as error:
        plan(app, "-c", "mine.toml")
    assert "\n" not in str(error.value)


def test_a_byte_order_mark_and_the_line_ends_of_another_system_are_taken(app: Path) -> None:
    (app.parent / "mine.toml").write_bytes(b"\xef\xbb\xbflearning-rate = 0.1\r\nmodel = 'a'\r\n")

    overrides = plan(app, "-c", "mine.toml").overrides

    assert (overrides["learning-rate"], overrides["model"]) == (0.1, "a")


@pytest.mark.parametrize("option", ["--participants", "--cpus-per-client"])
def test_counts_start_at_one(app: Path, option: str) -> None:
    with pytest.raises(SystemExit) as ending:
        plan(app, option, "0")
    assert ending.value.code == 2


def test_resume_takes_the_settings_of_the_run_and_no_preset(app: Path) -> None:
    run = app.parent / "run"
    run.mkdir()
    (run / "config.json").write_text('{"run-config": {"local-epochs": 3, "model": "old"}}')
    config = app / "pyproject.toml"
    config.write_text(config.read_text() + 'resume = ""\n')

    overrides = plan(app, "--resume", "run", "-c", "num-server-rounds=9").overrides

    assert overrides["local-epochs"] == 3
    assert overrides["model"] == "old"
    assert overrides["num-server-rounds"] == 9
    assert overrides["resume"] == str(run)


def test_resume_of_what_is_no_run_is_refused(app: Path) -> None:
    with pytest.raises(UsageError, match="is not the directory of a run"):
        plan(app, "--resume", str(app))


def test_a_cluster_may_have_more_cores_than_this_machine(tmp_path):
    many = str((os.cpu_count() or 1) + 1)
    with pytest.raises(UsageError, match="more than this machine's"):
        plan_launch(["--cpus-per-client", many], tmp_path)
    plan = plan_launch(["--cpus-per-client", many, "--ray-address", "h:1"], tmp_path)
    assert plan.cpus_per_client == int(many)


def test_ray_is_started_ahead_where_it_is_ours_to_start(tmp_path):
    assert plan_launch([], tmp_path).ray_ahead
    assert not plan_launch(["--ray-address", "h:1"], tmp_path).ray_ahead
    own_size = ["--federation-config", "init-args-num-cpus=1"]
    assert not plan_launch(own_size, tmp_path).ray_ahead


def test_as_many_workers_are_kept_as_clients_are_at_work(tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 7)
    assert plan_launch([], tmp_path).num_workers == 7
    assert plan_launch(["--cpus-per-client", "2"], tmp_path).num_workers == 3
