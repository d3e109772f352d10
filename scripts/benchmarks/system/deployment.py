"""Measure what a round costs beyond training where every message starts a process.

A real federation over TLS on this machine, with participants that train for a moment; and how
long the imports take that each of their processes begins with.

    python -m scripts.benchmarks.system.deployment               # ten minutes on two cores
    python -m scripts.benchmarks.system.deployment --rounds 9 --output deployment.json
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from fl_app.results.metrics_log import decode_rounds
from scripts.benchmarks.table import interleave
from scripts.deployment.cluster import Federation
from scripts.deployment.federation import outcome, submit
from scripts.deployment.plan import FederationPlan, Node
from scripts.launcher.run_config import Value, positive
from scripts.processes.flower_cli import COMPLETED, POLL_INTERVAL_VARIABLE, RUN_ID
from scripts.processes.process_tree import end_processes, watch_over
from scripts.processes.superlink import Launch, LaunchError
from scripts.repository import REPOSITORY

FLOWERS_POLL_SECONDS, OUR_POLL_SECONDS = "1.0", "0.1"
_IMPORTS = {
    "flwr alone": "import flwr.clientapp",
    "torch alone": "import torch",
    "this participant": "import fl_app.client_app",
    "this participant, and torchvision": "import fl_app.client_app, torchvision",
}
_EVALUATION: dict[str, dict[str, Value]] = {
    "in a message of its own": {},
    "with training": {"evaluate-with-training": True},
    "none": {"fraction-evaluate": 0.0},
}
_QUICK: dict[str, Value] = {
    "local-epochs": 1,
    "dataset": "digits",
    "tensorboard": False,
    "round-deadline": 300.0,
}


@dataclass(frozen=True)
class Cost:
    """Seconds of each round of one case.

    Attributes:
        poll: Seconds between two looks of Flower's for work, on each node.
        evaluation: How the global model is evaluated on the participants' data.
        rounds: Wall-clock seconds of each round after the first, which also waits for nodes.
        beyond_training: The same without the longest training of the round.
    """

    poll: str
    evaluation: str
    rounds: list[float]
    beyond_training: list[float]


def import_seconds(repeats: int) -> dict[str, list[float]]:
    """Time what a participant's process imports, each in a process of its own."""
    cases = {
        name: partial(subprocess.run, [sys.executable, "-c", code], cwd=REPOSITORY, check=True)
        for name, code in _IMPORTS.items()
    }
    return interleave(cases, repeats)


@contextmanager
def federation_of(num_nodes: int, poll: str) -> Iterator[tuple[Federation, tuple[Node, ...]]]:
    """Start a SuperLink and its nodes, and end them afterwards."""
    os.environ[POLL_INTERVAL_VARIABLE] = poll
    launch = Launch.create()
    try:
        watch_over(launch.id, launch.folder)
        federation = Federation(launch, launch.folder / "state")
        federation.start_superlink(lambda: False)
        nodes = tuple(
            Node(f"node-{i}", {"partition-id": i, "num-partitions": num_nodes})
            for i in range(num_nodes)
        )
        federation.register(nodes)
        for node in nodes:
            federation.start_node(node)
        yield federation, nodes
    finally:
        end_processes(launch.id)
        launch.remove()


def run(
    federation: Federation, nodes: tuple[Node, ...], rounds: int, **case: Value
) -> tuple[list[float], list[float]]:
    """Run the app; return each later round's seconds, in all and beyond training.

    Raises:
        LaunchError: If the run was not completed.
    """
    results = federation.launch.folder / "results" / str(time.monotonic_ns())
    overrides = _QUICK | {"num-participants": len(nodes), "num-server-rounds": rounds + 1}
    overrides |= {"output-dir": str(results)} | case
    plan = FederationPlan(REPOSITORY, overrides, nodes, (), None, False)
    log = submit(federation, plan).communicate()[0]
    started = RUN_ID.search(log)
    if started is None:
        raise LaunchError(f"a run was not accepted:\n{log}")
    if (ending := outcome(federation, started[1]))[0] != COMPLETED:
        raise LaunchError(f"a run ended as {ending}:\n{log}")
    (metrics,) = results.glob("*/metrics.jsonl")
    reports = decode_rounds(metrics.read_text(encoding="utf-8").splitlines())[2:]
    training = [max(p.train_seconds or 0.0 for p in report.participants) for report in reports]
    seconds = [report.seconds for report in reports]
    return seconds, [whole - part for whole, part in zip(seconds, training, strict=True)]


def measure(num_nodes: int, rounds: int) -> list[Cost]:
    """Run every case on a federation of its own kind."""
    costs = []
    for poll in (FLOWERS_POLL_SECONDS, OUR_POLL_SECONDS):
        with federation_of(num_nodes, poll) as (federation, nodes):
            run(federation, nodes, 1)  # the first one finds nothing compiled or cached
            for name, case in _EVALUATION.items():
                cost = Cost(poll, name, *run(federation, nodes, rounds, **case))
                print(f"poll {poll} s, evaluation {name}: {cost.rounds} s", file=sys.stderr)
                costs.append(cost)
    return costs


def as_markdown(imports: dict[str, list[float]], costs: Sequence[Cost]) -> str:
    """Return both tables, of medians."""
    lines = ["| import | seconds |", "| --- | --- |"]
    lines += [f"| {name} | {statistics.median(times):.2f} |" for name, times in imports.items()]
    lines += ["", "| Flower looks for work every | evaluation | a round | beyond training |"]
    lines.append("| --- | --- | --- | --- |")
    for cost in costs:
        medians = (statistics.median(cost.rounds), statistics.median(cost.beyond_training))
        whole, beyond = (f"{median:.1f} s" for median in medians)
        lines.append(f"| {cost.poll} s | {cost.evaluation} | {whole} | {beyond} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and write the numbers down if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=positive, default=2, help="SuperNodes; default 2")
    parser.add_argument("--rounds", type=positive, default=5, help="of each case; default 5")
    parser.add_argument("--output", type=Path, help="write the numbers to this file, as JSON")
    options = parser.parse_args(arguments)

    imports = import_seconds(options.rounds)
    costs = measure(options.nodes, options.rounds)

    print(as_markdown(imports, costs))
    print(f"{options.nodes} nodes and the SuperLink on {os.cpu_count()} cores")
    if options.output is not None:
        record = {"imports": imports, "rounds": [asdict(cost) for cost in costs]}
        options.output.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
