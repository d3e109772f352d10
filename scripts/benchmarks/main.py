"""Measure training, evaluation, aggregation and codecs on this machine, as ratios.

Every case runs in turn with the others, and the ratio is the median over neighbours in time,
so that a busy machine blurs the table rather than tilts it.

    scripts/benchmark
    scripts/benchmark --repeats 9 --output benchmark.json

Three more measure the whole application in a simulation; each has its own --help:

    scripts/benchmark overhead     # a round beyond training, and against the stock way
    scripts/benchmark startup      # from the command to the end of the first fit
    scripts/benchmark scale        # memory with thousands of participants
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import flwr
import numpy as np
import torch

from fl_app.core.paths import resolve_data_dir
from scripts.benchmarks.aggregation import measure_aggregation, sizes
from scripts.benchmarks.codecs import codec_models, codecs_as_markdown, measure_codecs
from scripts.benchmarks.table import as_markdown
from scripts.benchmarks.training import measure_training, pictures
from scripts.launcher.run_config import UsageError
from scripts.processes.superlink import LaunchError

WHOLE_RUNS = {
    "overhead": "scripts.benchmarks.system.overhead",
    "startup": "scripts.benchmarks.system.startup",
    "scale": "scripts.benchmarks.system.scale",
}
"""What measures runs of the whole application, by the first word of the command line."""


def machine() -> dict[str, Any]:
    """Describe what the numbers were measured on, and how busy it is."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": [round(value, 2) for value in os.getloadavg()],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "flwr": flwr.__version__,
    }


def _processor() -> str:
    """Return the processor's name with its vector instructions, as torch sees them."""
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{platform.machine()}, {capability}"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    summary, _, more = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="scripts/benchmark",
        description=summary,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repeats", type=int, default=5, help="runs of each case; default 5")
    parser.add_argument(
        "--examples", type=int, default=3000, help="examples of a local epoch; default 3000"
    )
    parser.add_argument("--quick", action="store_true", help="only see that it works")
    parser.add_argument("--data-dir", default="", help="folder that holds MNIST/")
    parser.add_argument("--output", type=Path, help="write the numbers to this file, as JSON")
    parsed = parser.parse_args(arguments)
    if parsed.repeats < 1 or parsed.examples < 1:
        parser.error("--repeats and --examples must be at least 1")
    if parsed.quick:
        parsed.repeats, parsed.examples = 1, 64
    return parsed


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and write them down if asked to."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in WHOLE_RUNS:
        try:
            import_module(WHOLE_RUNS[arguments[0]]).main(arguments[1:])
        except (LaunchError, UsageError) as error:
            sys.exit(f"error: {error}")
        return
    options = parse(arguments)
    before = machine()
    folder = str(Path(options.data_dir).resolve()) if options.data_dir else ""
    data, kind = pictures(resolve_data_dir(folder), options.examples)

    rows = measure_training(data, options.repeats)
    for size in sizes(options.quick):
        rows += measure_aggregation(size, options.repeats)
    codecs = [
        row
        for name, shapes in codec_models(options.quick).items()
        for row in measure_codecs(name, shapes, options.repeats)
    ]

    print(as_markdown(rows))
    print(codecs_as_markdown(codecs))
    print(", ".join(f"{key} {value}" for key, value in before.items()))
    print(f"trained on {kind}, {options.examples} examples; {options.repeats} repeats of each case")
    if options.output is not None:
        record = {
            "machine": before,
            "data": kind,
            "rows": [asdict(row) for row in rows],
            "codecs": [asdict(row) for row in codecs],
        }
        options.output.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
