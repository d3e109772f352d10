"""Kill -9 at any moment, resume, and the weights are those of an uninterrupted run."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from fl_app.core.errors import ResumeError
from scripts.repository import REPOSITORY
from strategies.privacy.accountant import epsilon_of
from tests.conftest import small_run_config
from tests.support.local_run import POINTS, run_app, summary_of

pytestmark = pytest.mark.slow

FOUR_ROUNDS = {"num-server-rounds": 4, "fraction-fit": 0.7, "tensorboard": False}


@pytest.fixture
def config(run_config: dict[str, Any], no_pictures: None) -> dict[str, Any]:
    return run_config | FOUR_ROUNDS


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of the same run, left in peace."""
    return run_app(small_run_config(tmp_path_factory.mktemp("uninterrupted")) | FOUR_ROUNDS)


def start(config: dict[str, Any], folder: Path, *kill: str) -> subprocess.Popen[bytes]:
    file = folder / "run-config.json"
    file.write_text(json.dumps(config))
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.local_run", str(file), *kill],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("signum", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("parts", [{"server-optimizer": "adam(lr=0.05)"}, {"scaffold": True}])
@pytest.mark.parametrize("point", ["metrics", "replace"])
def test_a_signal_to_the_server_app_saves_one_moment(config, tmp_path, parts, point, signum):
    """What the strategy remembers and the weights are of the same round, or the resume differs."""
    config |= parts
    whole = run_app(config | {"output-dir": str(tmp_path / "whole")})

    process = start(config, tmp_path, point, "3", signum)
    process.wait(timeout=120)
    directory = only_run(config)
    assert (directory / "summary.json").is_file()  # it ended by itself, and saved what there was
    run_app(config | {"resume": str(directory)})

    assert_same_result(directory, whole)


def only_run(config: dict[str, Any]) -> Path:
    (directory,) = Path(config["output-dir"]).iterdir()
    return directory


def assert_same_result(directory: Path, uninterrupted: Path) -> None:
    resumed, whole = summary_of(directory), summary_of(uninterrupted)
    assert resumed["sha256"] == whole["sha256"]
    for key in ("rounds", "reason", "central", "federated", "best", "bytes_up"):
        assert resumed[key] == whole[key], key
    for name in ("model.safetensors", "best.safetensors"):
        ours, theirs = load_file(directory / name), load_file(uninterrupted / name)
        assert ours.keys() == theirs.keys()
        assert all(ours[key].tobytes() == theirs[key].tobytes() for key in ours), name
    rounds = [
        row["server_round"]
        for row in map(json.loads, (directory / "metrics.jsonl").read_text().splitlines())
        if row["kind"] == "round"
    ]
    assert rounds == list(range(whole["rounds"] + 1))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_point_and_resumed_equals_uninterrupted(
    config: dict[str, Any], tmp_path: Path, uninterrupted: Path, point: str, count: int
) -> None:
    process = start(config, tmp_path, point, str(count))
    assert process.wait(timeout=400) == -signal.SIGKILL
    directory = only_run(config)
    if not (directory / "checkpoint.safetensors").exists():
        with pytest.raises(ResumeError, match="is not there"):
            run_app(config | {"resume": str(directory)})
        return

    run_app(config | {"resume": str(directory)})

    assert_same_result(directory, uninterrupted)


def test_a_round_that_is_done_again_after_a_kill_is_paid_for_twice(
    config: dict[str, Any], tmp_path: Path
) -> None:
    private = {"privacy": "central", "clip-norm": 0.1, "noise-multiplier": 2.0, "fraction-fit": 1.0}
    process = start(config | private, tmp_path, "ledger", "3")  # it is empty at first
    assert process.wait(timeout=400) == -signal.SIGKILL
    directory = only_run(config)
    spent = json.loads((directory / "privacy.json").read_text())["sum of 1/z^2"]
    assert spent == dict.fromkeys("012", 2 * 0.25)

    run_app(config | private | {"resume": str(directory)})

    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    epsilons = [row["epsilon"] for row in rows if row["kind"] == "round"]
    # Rounds 1 to 4, and round 2 once more.
    expected = [epsilon_of(count * 0.25, 1e-5) for count in (1, 3, 4, 5)]
    assert epsilons == [None, *map(pytest.approx, expected)]


def test_killed_at_random_moments_again_and_again_equals_uninterrupted(
    config: dict[str, Any], tmp_path: Path, uninterrupted: Path
) -> None:
    moments = random.Random(7)
    process = start(config, tmp_path)
    results = Path(config["output-dir"])
    while not list(results.glob("*/checkpoint.safetensors")):
        assert process.poll() is None
        time.sleep(0.01)
    directory = only_run(config)
    for _ in range(4):
        time.sleep(moments.uniform(0.0, 0.8))
        process.kill()
        process.wait()
        process = start(config | {"resume": str(directory)}, tmp_path)
        time.sleep(moments.uniform(1.0, 5.0))
    assert process.wait(timeout=400) == 0

    assert_same_result(directory, uninterrupted)


def test_more_rounds_after_the_end_equal_one_longer_run(
    config: dict[str, Any], uninterrupted: Path
) -> None:
    directory = run_app(config | {"num-server-rounds": 2})
    run_app(config | {"resume": str(directory)})

    assert_same_result(directory, uninterrupted)


def test_resuming_a_finished_run_changes_nothing(config: dict[str, Any]) -> None:
    directory = run_app(config | {"num-server-rounds": 1})
    before = summary_of(directory)
    run_app(config | {"num-server-rounds": 1, "resume": str(directory)})
    after = summary_of(directory)
    del before["seconds"], after["seconds"]
    assert after == before


def test_another_config_is_refused_with_its_differences(config: dict[str, Any]) -> None:
    directory = run_app(config | {"num-server-rounds": 1})
    with pytest.raises(ResumeError, match=r"learning-rate was 0\.01, is 0\.02; seed was 42, is 43"):
        run_app(config | {"resume": str(directory), "learning-rate": 0.02, "seed": 43})


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_a_damaged_checkpoint_is_refused_by_name(config: dict[str, Any], damage: str) -> None:
    directory = run_app(config | {"num-server-rounds": 1})
    path = directory / "checkpoint.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= damage == "flip"
    path.write_bytes(content[: {"truncate": 1000, "empty": 0}.get(damage, len(content))])

    with pytest.raises(ResumeError, match=r"checkpoint\.safetensors cannot be read"):
        run_app(config | {"resume": str(directory)})


def test_a_lost_history_is_refused(config: dict[str, Any]) -> None:
    directory = run_app(config | {"num-server-rounds": 1})
    (directory / "metrics.jsonl").write_text("")
    with pytest.raises(ResumeError, match=r"metrics\.jsonl has 0 bytes"):
        run_app(config | {"resume": str(directory)})
