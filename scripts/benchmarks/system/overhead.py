"""Measure what a round takes beyond training, in real simulations, against the stock way.

    scripts/benchmark overhead
    scripts/benchmark overhead --participants 10 100 1000 --rounds 5 --repeats 3

Every run starts a SuperLink and Ray workers of its own and leaves nothing. A round's overhead is
its training phase less what the workers spent in training; evaluation is told apart. The stock
way is Flower's tutorial for the same experiment (`scripts/stock_app`) on the same engine.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from fl_app.core.paths import resolve_data_dir
from scripts.benchmarks.main import machine
from scripts.benchmarks.system.measured_run import MeasuredRun, measured_run
from scripts.benchmarks.table import median_ratio
from scripts.repository import REPOSITORY

STOCK_APP = REPOSITORY / "scripts" / "stock_app"


@dataclass(frozen=True)
class RoundCost:
    """One round of one run.

    Attributes:
        participants: How many trained.
        seconds: Of the whole round, wall clock.
        fit_seconds: Of its training phase: messages, training, aggregation.
        train_seconds: What the participants say that training took them, by worker.
        evaluate_seconds: Of its evaluation, on the server and by the participants.
        megabytes_up: Arrays received.
        megabytes_down: Arrays sent.
    """

    participants: int
    seconds: float
    fit_seconds: float
    train_seconds: float
    evaluate_seconds: float
    megabytes_up: float
    megabytes_down: float

    @property
    def overhead(self) -> float:
        """Seconds of the training phase in which the workers, on average, did not train."""
        return self.fit_seconds - self.train_seconds


def round_costs(metrics: Path, workers: int) -> list[RoundCost]:
    """Read what each round took from a run's metrics log.

    The first trained round is left out: in it the workers load their data.
    """
    rows = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    trained: dict[int, float] = {}
    for row in rows:
        if row["kind"] == "participant":
            number = row["server_round"]
            trained[number] = trained.get(number, 0.0) + (row["train_seconds"] or 0.0)
    return [
        RoundCost(
            participants=sum(
                other["kind"] == "participant" and other["server_round"] == row["server_round"]
                for other in rows
            ),
            seconds=row["seconds"],
            fit_seconds=row["fit_seconds"],
            train_seconds=trained[row["server_round"]] / workers,
            evaluate_seconds=row["evaluate_seconds"],
            megabytes_up=row["bytes_up"] / 1e6,
            megabytes_down=row["bytes_down"] / 1e6,
        )
        for row in rows
        if row["kind"] == "round" and row["server_round"] > 1
    ]


def product_run(participants: int, rounds: int, folder: Path, data_dir: str) -> MeasuredRun:
    """Run this project's application, with one local epoch."""
    config = f'dataset="mnist" num-server-rounds={rounds} local-epochs=1'
    return measured_run(
        [*_where(folder, data_dir), "--participants", str(participants), "-c", config]
    )


def stock_round_seconds(rounds: int, folder: Path, data_dir: str) -> list[float]:
    """Run the stock application with ten participants; return the seconds of each round but one."""
    config = f"num-server-rounds={rounds} local-epochs=1"
    run = measured_run(
        ["--app", str(STOCK_APP), *_where(folder, data_dir), "--participants", "10", "-c", config]
    )
    assert run.directory is not None
    lines = (run.directory / "rounds.jsonl").read_text(encoding="utf-8").splitlines()
    times = [json.loads(line)["time"] for line in lines]
    # From one evaluation on the server to the next there is one of each phase.
    return [later - earlier for earlier, later in pairwise(times[1:])]


def _where(folder: Path, data_dir: str) -> list[str]:
    return ["--output-dir", str(folder), "--data-dir", data_dir]


def measure_costs(
    sizes: Sequence[int], rounds: int, folder: Path, data_dir: str
) -> list[list[RoundCost]]:
    """Measure rounds of several sizes; the costs of each size's rounds."""
    workers = os.cpu_count() or 1
    found = []
    for participants in sizes:
        run = product_run(participants, rounds, folder, data_dir)
        assert run.directory is not None
        found.append(round_costs(run.directory / "metrics.jsonl", workers))
    return found


def measure_against_stock(
    rounds: int, repeats: int, folder: Path, data_dir: str
) -> tuple[list[float], list[float]]:
    """Run both ways in turn; the median seconds of a round in each repeat: ours, stock."""
    ours, stock = [], []
    for _ in range(repeats):
        (costs,) = measure_costs([10], rounds, folder, data_dir)
        ours.append(statistics.median(cost.seconds for cost in costs))
        stock.append(statistics.median(stock_round_seconds(rounds, folder, data_dir)))
    return ours, stock


def as_table(costs: Sequence[Sequence[RoundCost]]) -> str:
    """Return medians over rounds as a Markdown table, a line per number of participants."""
    lines = [
        "| participants | round, s | training by worker, s | evaluation, s | overhead, s "
        "| of the round | by message, ms | up, MB | down, MB |",
        "| --- " * 9 + "|",
    ]
    for rounds in costs:

        def middle(name: str, rounds: Sequence[RoundCost] = rounds) -> float:
            return float(statistics.median(getattr(cost, name) for cost in rounds))

        share = statistics.median(cost.overhead / cost.seconds for cost in rounds)
        participants = rounds[0].participants
        lines.append(
            f"| {participants:,} | {middle('seconds'):.2f} | {middle('train_seconds'):.2f} "
            f"| {middle('evaluate_seconds'):.2f} | {middle('overhead'):.2f} | {share:.1%} "
            f"| {1000 * middle('overhead') / participants:.1f} "
            f"| {middle('megabytes_up'):,.1f} | {middle('megabytes_down'):,.1f} |"
        )
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and write the numbers if asked to."""
    parser = argparse.ArgumentParser(
        prog="scripts/benchmark overhead",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--participants", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--rounds", type=int, default=4, help="of a run, 3 or more; default 4")
    parser.add_argument("--repeats", type=int, default=3, help="of ours and stock; 0 is none")
    parser.add_argument("--data-dir", default="", help="folder that holds MNIST/")
    parser.add_argument("--output", type=Path, help="write the numbers to this file, as JSON")
    options = parser.parse_args(arguments)
    before = machine()
    data_dir = str(
        resolve_data_dir(str(Path(options.data_dir).resolve()) if options.data_dir else "")
    )
    record: dict[str, Any] = {"machine": before}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        costs = measure_costs(options.participants, options.rounds, folder, data_dir)
        print(as_table(costs), flush=True)
        record["rounds"] = [[asdict(cost) for cost in rounds] for rounds in costs]
        if options.repeats > 0:
            ours, stock = measure_against_stock(options.rounds, options.repeats, folder, data_dir)
            record |= {"round-seconds": {"ours": ours, "stock": stock}}
            print(
                f"a round of ten, one epoch: ours {statistics.median(ours):.2f} s, "
                f"stock {statistics.median(stock):.2f} s, {median_ratio(stock, ours):.2f} times\n"
            )
    print(", ".join(f"{key} {value}" for key, value in before.items()))
    if options.output is not None:
        options.output.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
