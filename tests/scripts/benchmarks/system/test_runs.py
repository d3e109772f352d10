"""The benchmarks of whole runs: what they make of a log, worked out by hand."""

import json
import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.benchmarks.main import WHOLE_RUNS, main
from scripts.benchmarks.system import measured_run
from scripts.benchmarks.system.measured_run import MeasuredRun
from scripts.benchmarks.system.overhead import RoundCost, as_table, round_costs
from scripts.benchmarks.system.process_usage import (
    RAY,
    ROLES,
    SERVER,
    SUPERLINK,
    WORKERS,
    cpu_by_role,
    memory_by_role,
    role_of,
)
from scripts.benchmarks.system.scale import ScaleRun
from scripts.benchmarks.system.scale import as_table as scale_table
from scripts.benchmarks.system.scale_plot import plot_scale
from scripts.benchmarks.system.startup import FIRST_FIT, stages
from scripts.launcher.options import LaunchPlan
from scripts.processes.process_tree import Process
from scripts.processes.signals import StopSignals
from scripts.processes.superlink import LaunchError


def round_row(number: int, **fields: float) -> dict[str, object]:
    times = {"seconds": 10.0, "fit_seconds": 8.0, "evaluate_seconds": 2.0}
    return {
        "kind": "round",
        "server_round": number,
        **times,
        "bytes_up": 2_000_000,
        "bytes_down": 4_000_000,
        **fields,
    }


def participant_row(
    number: int, seconds: float | None, round_trip: float = 5.0
) -> dict[str, object]:
    return {
        "kind": "participant",
        "server_round": number,
        "train_seconds": seconds,
        "round_trip_seconds": round_trip,
    }


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_overhead_is_what_of_the_training_phase_the_workers_did_not_train(tmp_path: Path) -> None:
    """Two workers trained 4, 5 and 6 s: 7.5 s each, on average, of a phase of 8 s."""
    rows = [
        round_row(0),
        round_row(1, fit_seconds=80.0),  # loading the data is not a round's cost
        participant_row(1, 4.0),
        round_row(2),
        participant_row(2, 4.0),
        participant_row(2, 5.0),
        participant_row(2, 6.0),
        participant_row(2, None),
    ]

    (cost,) = round_costs(write(tmp_path / "metrics.jsonl", rows), workers=2)

    assert cost == RoundCost(4, 10.0, 8.0, 7.5, 2.0, 2.0, 4.0)
    assert cost.overhead == 0.5
    assert "| 4 | 10.00 | 7.50 | 2.00 | 0.50 | 5.0% | 125.0 | 2.0 | 4.0 |" in as_table([[cost]])


def test_growth_is_that_of_the_later_half_and_a_peak_does_not_tilt_it() -> None:
    """It starts by 500 MB, then adds half a megabyte per round, with one peak."""
    memory = [500.0 * i for i in range(5)] + [2000.0 + 0.5 * i for i in range(6)]
    memory[7] += 300
    run = ScaleRun(1000, list(range(11)), memory={SERVER: memory})
    assert run.growth(SERVER) == pytest.approx(50.0)


def test_the_table_of_scale_has_a_line_per_run() -> None:
    run = ScaleRun(
        1000,
        rounds=[0, 1, 2],
        seconds=[9.0, 12.5, 13.0],
        round_seconds=[3.0, 0.5],
        memory={role: [100.0, 200.0, 200.0] for role in ROLES},
        cpu={role: [1.0, 5.0, 5.25] for role in ROLES},
    )
    line = "| 1,000 | 9.0 | 12.5 | 1.75 | 0.25 |" + " 200 (+0.0) |" * 4
    assert line in scale_table([run])


def test_the_parts_of_a_simulation_are_told_apart() -> None:
    assert role_of("ray::ClientAppActor.run") == WORKERS
    assert role_of("/usr/bin/python /v/bin/flwr-simulation --token x") == SERVER
    assert role_of("/usr/bin/python /v/bin/flower-superlink --insecure") == SUPERLINK
    assert role_of("/v/ray/core/src/ray/raylet/raylet --x") == RAY
    assert role_of("/usr/bin/python -P /r/scripts/processes/hold_ray.py") == RAY
    assert role_of("/usr/bin/vim notes") is None


def test_memory_that_is_written_is_counted() -> None:
    def held() -> float:
        process = Process(os.getpid(), 1, "ray::ClientAppActor", True)
        return memory_by_role([process])[WORKERS]

    before = held()
    # Pages of its own: what this process freed before may be lying in store for a bytearray.
    with mmap.mmap(-1, 50_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
        assert 45 < held() - before < 60


def test_processor_time_is_counted() -> None:
    process = Process(os.getpid(), 1, "ray::ClientAppActor", True)
    before, start = cpu_by_role([process])[WORKERS], time.process_time()
    while time.process_time() < start + 0.3:
        pass
    assert 0.25 < cpu_by_role([process])[WORKERS] - before < 1.0


def test_a_process_that_has_ended_uses_nothing() -> None:
    gone = [Process(2**22 + 1, 1, "ray::x", True)]
    assert set(memory_by_role(gone).values()) == set(cpu_by_role(gone).values()) == {0.0}


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    run = ScaleRun(1000, rounds=[0, 1, 2], memory={role: [1.0, 2.0, 2.0] for role in ROLES})
    plot_scale([run, run], tmp_path / "scale.png")
    assert (tmp_path / "scale.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="no runs"):
        plot_scale([], tmp_path / "none.png")


def test_the_first_fit_ends_with_the_first_reply(tmp_path: Path) -> None:
    """Round 1 took 10 s and was logged at 30 s; its first reply came 4 s after it began."""
    rows = [round_row(0), round_row(1), participant_row(1, 3.0, 6.0), participant_row(1, 3.0, 4.0)]
    write(tmp_path / "metrics.jsonl", rows)
    lines = [
        (3.0, "Successfully started run 7"),
        (6.0, "INFO : Starting Flower Simulation"),
        (9.0, "INFO : results: /x"),
        (11.0, "INFO : round 0/1 | central"),
        (30.0, "INFO : round 1/1 | central"),
    ]
    plan = LaunchPlan(tmp_path, {}, 10, 1, 0.0)
    run = MeasuredRun(plan, superlink_seconds=2.0, lines=lines, directory=tmp_path)

    found = stages(run)

    assert list(found.values())[:5] == [2.0, 3.0, 6.0, 9.0, 11.0]
    assert found[FIRST_FIT] == 24.0


@pytest.mark.parametrize(
    ("warm", "order"), [(False, ["prepare", "SuperLink"]), (True, ["SuperLink", "prepare"])]
)
def test_a_warm_superlink_is_there_before_the_command(warm, order, monkeypatch, tmp_path) -> None:
    done: list[str] = []

    class EndedError(Exception):
        pass

    def note(name: str) -> Callable[..., None]:
        def noted(*_: object) -> None:
            done.append(name)
            if len(done) == 2:
                raise EndedError

        return noted

    for name in ("watch_over", "adopt_orphans"):
        monkeypatch.setattr(measured_run, name, lambda *_: None)
    monkeypatch.setattr(measured_run, "clean_up", lambda launch, *_, **__: launch.remove())
    monkeypatch.setattr(StopSignals, "install", lambda self: None)
    monkeypatch.setattr(measured_run, "_SETTLING_SECONDS", 0.0)
    monkeypatch.setattr(measured_run, "prepare", note("prepare"))
    monkeypatch.setattr(measured_run, "start_superlink", note("SuperLink"))

    with pytest.raises(EndedError):
        measured_run.measured_run(["--output-dir", str(tmp_path)], warm=warm)
    assert done == order


def test_a_moment_that_never_came_is_an_error(tmp_path: Path) -> None:
    run = MeasuredRun(LaunchPlan(tmp_path, {}, 10, 1, 0.0))
    with pytest.raises(LaunchError, match="no line with 'round 9'"):
        run.moment("round 9")


@pytest.mark.parametrize("name", WHOLE_RUNS)
def test_each_benchmark_of_whole_runs_is_a_word_of_the_command(name, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert f"usage: scripts/benchmark {name}" in capsys.readouterr().out


def test_a_benchmark_that_cannot_run_says_so_in_a_sentence(tmp_path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise LaunchError("the SuperLink ended at once")

    monkeypatch.setattr("scripts.benchmarks.system.startup.measured_run", refuse)
    with pytest.raises(SystemExit, match="error: the SuperLink ended at once"):
        main(["startup", "--data-dir", str(tmp_path)])
