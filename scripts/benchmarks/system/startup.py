"""Measure how long it takes from the command to the end of the first fit, by stages.

    scripts/benchmark startup --repeats 5

Every repeat starts a SuperLink of its own, twice: with the command, and, for the last line, ahead
of it, so that it is warm.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fl_app.core.paths import resolve_data_dir
from scripts.benchmarks.main import machine
from scripts.benchmarks.system.measured_run import MeasuredRun, measured_run
from scripts.processes.flower_cli import RUN_STARTED, SIMULATION_STARTED
from scripts.repository import REPOSITORY

_STAGES = (
    ("the run is accepted", RUN_STARTED),
    ("Flower's simulation has begun", SIMULATION_STARTED),
    ("the server app is built", "results:"),
    ("the initial model is evaluated", "round 0/"),
)
FIRST_FIT, WARM = "the first fit has ended", "... with a warm SuperLink"


def stages(run: MeasuredRun) -> dict[str, float]:
    """Return the seconds from the command to the end of each stage.

    Flower passes the log on in batches, so a moment may be late by half a second.
    """
    found = {"the SuperLink answers": run.superlink_seconds}
    found |= {name: run.moment(text) for name, text in _STAGES}
    assert run.directory is not None
    lines = (run.directory / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row.get("server_round") == 1]
    (whole,) = (row["seconds"] for row in rows if row["kind"] == "round")
    first = min(row["round_trip_seconds"] for row in rows if row["kind"] == "participant")
    found[FIRST_FIT] = run.moment("round 1/") - whole + first
    return found


def import_seconds(module: str) -> float:
    """Return how long a fresh process takes to import a module, the interpreter included."""
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the medians, and write the numbers if asked to."""
    parser = argparse.ArgumentParser(
        prog="scripts/benchmark startup",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--data-dir", default="", help="folder that holds MNIST/")
    parser.add_argument("--output", type=Path, help="write the numbers to this file, as JSON")
    options = parser.parse_args(arguments)
    before = machine()
    given = str(Path(options.data_dir).resolve()) if options.data_dir else ""
    data_dir = str(resolve_data_dir(given))
    runs: list[dict[str, float]] = []
    imports: dict[str, list[float]] = {"fl_app.server_app": [], "fl_app.client_app": []}
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            command = ["--output-dir", folder, "--data-dir", data_dir, "-c", "num-server-rounds=1"]
            cold = stages(measured_run(command))
            runs.append(cold | {WARM: stages(measured_run(command, warm=True))[FIRST_FIT]})
        for module, seconds in imports.items():
            seconds.append(import_seconds(module))
    print("| from the command until | s, median | fastest |\n| --- | --- | --- |")
    for name in runs[0]:
        values = [run[name] for run in runs]
        print(f"| {name} | {statistics.median(values):.1f} | {min(values):.1f} |")
    for module, seconds in imports.items():
        print(f"| (import of {module}) | {statistics.median(seconds):.1f} | {min(seconds):.1f} |")
    print(", ".join(f"{key} {value}" for key, value in before.items()))
    if options.output is not None:
        record = {"machine": before, "runs": runs, "imports": imports}
        options.output.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
