"""`scripts/federation` as an operator starts it: real processes over TLS, own folders of images."""

import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fl_app.results.metrics_log import decode_rounds
from scripts.processes.flower_cli import POLL_INTERVAL_VARIABLE
from scripts.processes.process_tree import find_processes
from tests.support.command_run import CommandRun
from tests.support.local_run import summary_of

pytestmark = [pytest.mark.slow, pytest.mark.waiting, pytest.mark.timeout(900)]

SITES = ("north", "south", "west")
CONFIG = "class-names='dark,light' num-server-rounds={rounds} local-epochs=1 batch-size=4"

Start = Callable[..., CommandRun]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts the command for some sites, each with a folder of its own images."""
    # To look for work ten times a second is work itself, in each of a dozen processes.
    monkeypatch.setenv(POLL_INTERVAL_VARIABLE, "0.5")
    runs: list[CommandRun] = []
    random = np.random.default_rng(0)
    for site in SITES:
        for name, low, high in (("dark", 0, 100), ("light", 156, 256)):
            (tmp_path / site / name).mkdir(parents=True)
            for index in range(10):
                pixels = random.integers(low, high, (28, 28), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / site / name / f"{index}.png")

    def start_run(sites: tuple[str, ...], rounds: int, *arguments: str) -> CommandRun:
        options = [f"--node={site}={tmp_path / site}" for site in sites]
        options += ["--output-dir", "out", "-c", CONFIG.format(rounds=rounds), *arguments]
        folder = tmp_path / f"run-{len(runs)}"
        runs.append(CommandRun("scripts.deployment.federation", *options, folder=folder))
        return runs[-1]

    yield start_run
    for run in runs:
        run.abandon()


def test_one_command_trains_three_sites_on_their_own_images_and_leaves_nothing(
    start: Start,
) -> None:
    run = start(SITES, 1)

    assert run.finish() == 0, run.output()

    (directory,) = (run.cwd / "out").iterdir()
    summary = summary_of(directory)
    assert summary["failures"] == 0
    assert summary["central"] is None  # the server has no data
    assert summary["federated"]["accuracy"] >= 0.0
    *_, last = decode_rounds((directory / "metrics.jsonl").read_text().splitlines())
    assert {participant.participant for participant in last.participants} == set(SITES)
    assert (directory / "model.safetensors").is_file()
    assert run.output().splitlines()[-1] == f"Results: {directory}"
    assert run.traces() == []
    assert not (run.home / ".flwr").exists()


def test_ctrl_c_in_a_round_leaves_a_checkpoint_to_continue_from_and_no_process(
    start: Start,
) -> None:
    run = start(SITES[:1], 99, "-c", "fraction-evaluate=0.0")
    run.wait_for(r"round +1/99 \|")
    assert len(find_processes(run.launch_id)) > 3

    run.process.send_signal(signal.SIGINT)

    assert run.finish() == 128 + signal.SIGINT, run.output()
    assert run.traces() == []
    assert "Traceback" not in run.output()
    (directory,) = (run.cwd / "out").iterdir()
    assert (directory / "checkpoint.safetensors").is_file()
    assert f"--resume {directory}" in run.output()

    done = decode_rounds((directory / "metrics.jsonl").read_text().splitlines())[-1].server_round
    resumed = start(SITES[:1], done + 1, "--resume", str(directory))
    assert resumed.finish() == 0, resumed.output()
    assert summary_of(directory)["rounds"] == done + 1
    assert resumed.traces() == []


def found(run: CommandRun, pattern: str) -> str:
    match = re.search(pattern, run.output())
    assert match, run.output()
    return match[1]


def test_a_site_that_cannot_read_its_images_fails_the_run_and_its_log_stays_for_the_user_alone(
    start: Start, tmp_path: Path
) -> None:
    torn = tmp_path / "north" / "dark" / "3.png"
    torn.write_bytes(torn.read_bytes()[:60])

    run = start(SITES[:1], 1, "-c", "fraction-evaluate=0.0")

    assert run.finish() == 1, run.output()
    last = run.output().splitlines()[-1]
    assert last.startswith(
        "error: the run ended as finished:failed: all 1 rounds are done, but no "
    )
    assert "asked 1, replied 0, refused 0" in last
    logs = Path(found(run, r"logs of SuperLink and SuperNodes are in (\S+)"))
    try:
        assert "3.png" in (logs / "north.log").read_text()
        assert logs.parent.stat().st_mode & 0o777 == logs.stat().st_mode & 0o777 == 0o700
        assert (logs / "north.log").stat().st_mode & 0o777 == 0o600
    finally:
        shutil.rmtree(logs.parent)
    assert run.traces() == []
