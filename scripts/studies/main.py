"""Studies of the parts: many runs side by side, as a table, JSON and a picture.

    scripts/study robustness --output docs

Every run is the whole application in one process, over `scripts.harness.in_process_grid`. With
`--output`, what is finished is written at once, and runs that the JSON already holds are not run
again: an interrupted study goes on, and a finished one is drawn anew.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from scripts.repository import default_run_config
from scripts.studies.definitions import STUDIES, Study
from scripts.studies.mnist_subset import shortened_mnist
from scripts.studies.plots import plot_study
from scripts.studies.tables import Results, Round, study_table

# What no study looks at.
_FIXED = {"tensorboard": False, "fraction-evaluate": 0.0}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parse(arguments)
    study = STUDIES[options.study]
    configs = study.configs(options.run_config)
    path = options.output and options.output / f"{options.study}.json"
    results = _earlier(path, configs, options.train_examples)
    wanted = options.runs or configs
    missing = {n: config for n, config in configs.items() if n in wanted and n not in results}
    for name, rounds in _run_all(missing, options.train_examples, options.jobs):
        print(f"{name}: {rounds[-1]['accuracy']:.2%}", file=sys.stderr, flush=True)
        finished = results | {name: rounds}
        results = {name: finished[name] for name in configs if name in finished}
        if path:
            _write(path, study, configs, options.train_examples, results)
    print(study_table(study, results))
    if path:
        plot_study(study, results, path.with_suffix(".png"))
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/study", description=str(__doc__).partition("\n")[0]
    )
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="write JSON and picture here; go on from there"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time")
    parser.add_argument(
        "--run-config", type=json.loads, default={}, metavar="JSON", help="override keys of all"
    )
    parser.add_argument(
        "--train-examples", type=int, default=12_000, metavar="N", help="of MNIST, the first ones"
    )
    parser.add_argument("--runs", nargs="+", metavar="NAME", help="run only these now")
    return parser.parse_args(arguments)


def _earlier(
    path: Path | None, configs: Mapping[str, Any], train_examples: int
) -> dict[str, list[Round]]:
    """Return the results at `path` of the runs that would be run in the same way again."""
    if path is None or not path.exists():
        return {}
    saved = json.loads(path.read_text(encoding="utf-8"))
    if saved["train_examples"] != train_examples:
        return {}
    runs = saved["runs"]
    return {
        name: runs[name]["rounds"]
        for name, config in configs.items()
        if name in runs and runs[name]["config"] == config
    }


def _write(
    path: Path, study: Study, configs: Mapping[str, Any], train_examples: int, results: Results
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    runs = {name: {"config": configs[name], "rounds": rounds} for name, rounds in results.items()}
    content = {"title": study.title, "train_examples": train_examples, "runs": runs}
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def _run_all(
    configs: Mapping[str, Any], train_examples: int, jobs: int
) -> Iterator[tuple[str, list[Round]]]:
    """Run what is to be run, some at a time; yield each as it is finished."""
    with (
        tempfile.TemporaryDirectory(prefix="study-") as scratch,
        ProcessPoolExecutor(jobs, get_context("spawn")) as pool,
    ):
        data_dir = ""
        if any(config["dataset"] == "mnist" for config in configs.values()):
            data_dir = str(shortened_mnist(Path(scratch), train_examples))
        names = {
            pool.submit(run_once, config | {"data-dir": data_dir}): name
            for name, config in configs.items()
        }
        try:
            for future in as_completed(names):
                yield names[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def run_once(config: Mapping[str, Any]) -> list[Round]:
    """Run the application once, in this process; return what each round came to.

    Args:
        config: Run-config keys that are not as they are by default.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    from scripts.harness.in_process_run import run_app

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="study-") as scratch:
        directory = run_app(default_run_config() | _FIXED | dict(config) | {"output-dir": scratch})
        lines = (directory / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        {
            "round": row["server_round"],
            "accuracy": row["central"]["accuracy"],
            "bytes_up": row["bytes_up"],
        }
        for row in map(json.loads, lines)
        if row["kind"] == "round"
    ]


if __name__ == "__main__":
    sys.exit(main())
