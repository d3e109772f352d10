"""Studies of the parts: many runs side by side, as a table, JSON and a picture.

    python -m scripts.study robustness --output docs

Every run is the whole application over `scripts.local_grid`, two of them at a time.
"""

import argparse
import json
import os
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from scripts.study_plots import plot_curves

PROJECT = Path(__file__).resolve().parents[1]
Config = Mapping[str, Any]


@dataclass(frozen=True)
class Study:
    """Runs to compare.

    Attributes:
        title: What it shows.
        common: Run-config keys that all runs share.
        runs: By name, the keys in which a run differs; "row | column" makes a cross table.
        target: Accuracy to look for the first round of, if any.
    """

    title: str
    common: Config
    runs: Mapping[str, Config]
    target: float | None = None


_AGGREGATORS = {
    "weighted mean": "weighted-mean",
    "median": "median",
    "trimmed mean": "trimmed-mean(trim_fraction=0.3)",
    "Krum": "krum(num_malicious=3)",
    "Multi-Krum": "multi-krum(num_malicious=3)",
    "geometric median": "geometric-median",
    "norm-clipped mean": "norm-clipped-mean",
}
_ATTACKS = {
    "nobody lies": "none",
    "sign flip": "sign-flip(scale=3.0)",
    "scaled noise": "scaled-noise(scale=10.0)",
    "label flip": "label-flip",
    "inflated count": "inflated-count(factor=100)",
    "a little is enough": "a-little-is-enough",
}

STUDIES = {
    "robustness": Study(
        "Accuracy with 3 of 10 participants lying",
        {"num-server-rounds": 5, "local-epochs": 1, "learning-rate": 0.05},
        {
            f"{aggregator} | {attack}": {
                "aggregator": _AGGREGATORS[aggregator],
                "adversary": _ATTACKS[attack],
                "adversary-fraction": 0.3 if _ATTACKS[attack] != "none" else 0.0,
            }
            for aggregator in _AGGREGATORS
            for attack in _ATTACKS
        },
    ),
    "heterogeneity": Study(
        "Two labels per participant",
        {
            "num-server-rounds": 20,
            "local-epochs": 1,
            "learning-rate": 0.01,
            "partitioner": "pathological",
            "classes-per-participant": 2,
        },
        {
            "plain averaging": {},
            "FedProx, mu = 0.1": {"proximal-mu": 0.1},
            "SCAFFOLD": {"scaffold": True},
            "FedAvgM, momentum 0.9": {"server-optimizer": "sgd(momentum=0.9)"},
            "FedAdam": {"server-optimizer": "adam(lr=0.003)"},
            "FedYogi": {"server-optimizer": "yogi(lr=0.003)"},
        },
        target=0.9,
    ),
    "compression": Study(
        "Bytes up and accuracy",
        {"num-server-rounds": 10, "local-epochs": 1, "learning-rate": 0.05},
        {
            "float32": {},
            "float16": {"codec": "float16"},
            "8 bits": {"codec": "quantise(bits=8)"},
            "4 bits": {"codec": "quantise(bits=4)"},
            "top 1 %": {"codec": "top-k(fraction=0.01)"},
            "top 1 %, 4 bits": {"codec": "top-k(fraction=0.01, values='int4')"},
            "the same without feedback": {
                "codec": "top-k(fraction=0.01, values='int4')",
                "error-feedback": False,
            },
        },
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parse(arguments)
    study = STUDIES[options.study]
    configs = {
        name: _config(study, changes, options.run_config) for name, changes in study.runs.items()
    }
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        results = dict(zip(configs, pool.map(_run, configs.values()), strict=True))
    print(table(study, results))
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        content = {"title": study.title, "common": dict(study.common), "runs": results}
        (options.output / f"{options.study}.json").write_text(json.dumps(content, indent=1) + "\n")
        if "|" not in next(iter(results)):
            plot_curves(study.title, results, options.output / f"{options.study}.png")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="study", description=__doc__)
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--output", type=Path, metavar="DIR", help="write JSON and picture here")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time")
    parser.add_argument(
        "--run-config", type=json.loads, default={}, metavar="JSON", help="override keys of all"
    )
    return parser.parse_args(arguments)


def _config(study: Study, changes: Config, override: Config) -> dict[str, Any]:
    with (PROJECT / "pyproject.toml").open("rb") as file:
        defaults: dict[str, Any] = tomllib.load(file)["tool"]["flwr"]["app"]["config"]
    fixed = {"tensorboard": False, "fraction-evaluate": 0.0}
    return defaults | fixed | dict(study.common) | dict(changes) | dict(override)


def _run(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Run the application once, in a process of its own; return a row per round."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    from scripts.local_run import run_app

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="study-") as scratch:
        directory = run_app(config | {"output-dir": scratch})
        lines = (directory / "metrics.jsonl").read_text().splitlines()
    rounds = [row for row in map(json.loads, lines) if row["kind"] == "round"]
    return [
        {
            "round": row["server_round"],
            "accuracy": row["central"]["accuracy"],
            "loss": row["central"]["loss"],
            "bytes_up": row["bytes_up"],
        }
        for row in rounds
    ]


def table(study: Study, results: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return the results as a Markdown table: of final accuracies, or a line per run."""
    if "|" in next(iter(results)):
        return _cross_table(results)
    first = next(iter(results.values()))
    baseline = sum(row["bytes_up"] for row in first)
    rows = ["| run | final accuracy | bytes up | times fewer |", "| --- | --- | --- | --- |"]
    if study.target is not None:
        rows[0] = rows[0] + f" rounds to {study.target:.0%} |"
        rows[1] = rows[1] + " --- |"
    for name, rounds in results.items():
        sent = sum(row["bytes_up"] for row in rounds)
        line = f"| {name} | {rounds[-1]['accuracy']:.2%} | {sent:,} | {baseline / sent:.1f} |"
        if study.target is not None:
            reached = [r["round"] for r in rounds if r["accuracy"] >= study.target]
            line += f" {reached[0] if reached else '-'} |"
        rows.append(line)
    return "\n".join(rows)


def _cross_table(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    cells = {tuple(name.split(" | ")): rounds[-1]["accuracy"] for name, rounds in results.items()}
    columns = list(dict.fromkeys(column for _, column in cells))
    rows = ["| | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
    for row in dict.fromkeys(row for row, _ in cells):
        values = " | ".join(f"{cells[row, column]:.1%}" for column in columns)
        rows.append(f"| {row} | {values} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
