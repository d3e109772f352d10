"""Run thousands of simulated participants, and see whether memory stays flat.

Ten participants are sampled per round, unless told otherwise. After every round the memory of
all processes is taken: the server app, which in a simulation holds Flower's engine too, the
SuperLink, the workers, and the rest of Ray.

    scripts/benchmark scale
    scripts/benchmark scale --participants 1000 10000 --rounds 200 --plot docs/scale.png
"""

import argparse
import json
import re
import statistics
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from scripts.benchmarks.main import machine
from scripts.benchmarks.system.measured_run import measured_run
from scripts.benchmarks.system.process_usage import ROLES, SERVER, cpu_by_role, memory_by_role
from scripts.benchmarks.system.scale_plot import plot_scale
from scripts.processes.process_tree import find_processes
from scripts.processes.superlink import Launch

_ROUND = re.compile(r"round +(\d+)/\d+ \|")


@dataclass
class ScaleRun:
    """What a run of many participants took.

    Attributes:
        participants: How many there were.
        rounds: Rounds that were looked at, from 0.
        seconds: Since the start of the command, when each was logged.
        round_seconds: Of each round from 1, as the run itself has it.
        memory: MB by role, after each round.
        cpu: Processor seconds by role, from the start to after each round.
        metrics_bytes: Length of the metrics log at the end.
    """

    participants: int
    rounds: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    round_seconds: list[float] = field(default_factory=list)
    memory: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    metrics_bytes: int = 0

    def growth(self, role: str) -> float:
        """Return how much a role grew, in MB per 100 rounds, over the later half.

        The median of the slopes between all pairs of points (Theil and Sen), which a single
        peak does not tilt.
        """
        half = len(self.rounds) // 2
        points = list(zip(self.rounds[half:], self.memory[role][half:], strict=True))
        slopes = [
            (y - before) / (x - earlier)
            for index, (x, y) in enumerate(points)
            for earlier, before in points[:index]
        ]
        return 100 * statistics.median(slopes) if slopes else 0.0


class _Sampler:
    """Takes memory and processor time after rounds, in a thread: reading the log must not wait.

    A round that ends while another is looked at is left out.
    """

    def __init__(self, found: ScaleRun) -> None:
        self._found = found
        self._rounds: SimpleQueue[tuple[Launch, int, float] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def tell(self, launch: Launch, number: int, seconds: float) -> None:
        """Take note that a round has ended."""
        self._rounds.put((launch, number, seconds))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._rounds.put(None)
        self._thread.join()

    def _sample(self) -> None:
        while (latest := self._rounds.get()) is not None:
            while not self._rounds.empty():
                following = self._rounds.get()
                if following is None:
                    return
                latest = following
            launch, number, seconds = latest
            processes = find_processes(launch.id)
            memory, cpu = memory_by_role(processes), cpu_by_role(processes)
            if not all(memory.values()):
                continue  # the run is over, and its processes are going
            self._found.rounds.append(number)
            self._found.seconds.append(seconds)
            for role in ROLES:
                self._found.memory[role].append(round(memory[role], 1))
                self._found.cpu[role].append(round(cpu[role], 2))


def measure_scale(
    participants: int, rounds: int, sampled: int, dataset: str, folder: Path
) -> ScaleRun:
    """Run and measure; results go below `folder`."""
    found = ScaleRun(
        participants, memory={role: [] for role in ROLES}, cpu={role: [] for role in ROLES}
    )

    sampler = _Sampler(found)

    def observe(launch: Launch, seconds: float, line: str) -> None:
        if matched := _ROUND.search(line):
            sampler.tell(launch, int(matched[1]), seconds)
            print(f"{participants} participants, {line.split('INFO :')[-1].strip()}", flush=True)

    share = min(1.0, sampled / participants)
    config = (
        f'dataset="{dataset}" num-server-rounds={rounds} local-epochs=1 '
        f"fraction-fit={share} fraction-evaluate={share}"
    )
    arguments = ["--participants", str(participants), "--output-dir", str(folder), "-c", config]
    with sampler:
        run = measured_run(arguments, observe)
    assert run.directory is not None
    metrics = run.directory / "metrics.jsonl"
    rows = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    found.round_seconds = [
        row["seconds"] for row in rows if row["kind"] == "round" and row["server_round"] > 0
    ]
    found.metrics_bytes = metrics.stat().st_size
    return found


def as_table(runs: Sequence[ScaleRun]) -> str:
    """Return the findings as a Markdown table."""
    lines = [
        "| participants | to round 0, s | to round 1, s | a round, s (median) "
        "| processor time of server and engine by round, s | "
        + " | ".join(f"{role}, MB (MB per 100 rounds)" for role in ROLES)
        + " |",
        "| --- " * (5 + len(ROLES)) + "|",
    ]
    for run in runs:
        memory = " | ".join(
            f"{run.memory[role][-1]:,.0f} ({run.growth(role):+.1f})" for role in ROLES
        )
        cpu = (run.cpu[SERVER][-1] - run.cpu[SERVER][1]) / max(1, run.rounds[-1] - run.rounds[1])
        lines.append(
            f"| {run.participants:,} | {run.seconds[0]:.1f} | {run.seconds[1]:.1f} | "
            f"{statistics.median(run.round_seconds):.2f} | {cpu:.2f} | {memory} |"
        )
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the numbers and the picture."""
    parser = argparse.ArgumentParser(
        prog="scripts/benchmark scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--participants", type=int, nargs="+", default=[1000])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--sampled", type=int, default=10, help="by round; default 10")
    parser.add_argument("--dataset", default="mnist", choices=("mnist", "digits"))
    parser.add_argument("--output", type=Path, help="write the numbers to this file, as JSON")
    parser.add_argument("--plot", type=Path, help="draw memory by round to this PNG file")
    options = parser.parse_args(arguments)
    before = machine()
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            measure_scale(
                participants, options.rounds, options.sampled, options.dataset, Path(folder)
            )
            for participants in options.participants
        ]
    print(as_table(runs))
    print(", ".join(f"{key} {value}" for key, value in before.items()))
    record: dict[str, Any] = {"machine": before, "runs": [asdict(run) for run in runs]}
    if options.output is not None:
        options.output.write_text(json.dumps(record) + "\n", encoding="utf-8")
    if options.plot is not None:
        plot_scale(runs, options.plot)


if __name__ == "__main__":
    main()
