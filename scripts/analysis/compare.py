"""Compare runs: one table, and one picture if asked for: `scripts/compare --help`."""

import argparse
import json
import math
import os
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fl_app.core.errors import UserError
from fl_app.core.metrics import LOSS, Metric
from fl_app.results.reader import RunResults, load_run
from fl_app.results.records import RoundReport, Score

# Where a run reads and writes: no part of what it computes.
_PLACES = ("data-dir", "output-dir", "resume")
_ABSENT = "-"

Row = tuple[str, list[Any]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parse(arguments)
    try:
        runs = _load(options.runs)
        _show(runs, options.json)
        if options.output:
            _plot(runs, options.output)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="compare",
        description="Compare runs, also those that still go on or were killed. Final scores are "
        "those of the last round in which they were measured; bytes count arrays only.",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run directory")
    parser.add_argument("--output", type=Path, metavar="PNG", help="draw a picture, too")
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")
    return parser.parse_args(arguments)


def _load(paths: Sequence[Path]) -> dict[str, RunResults]:
    """Read the runs, by names that tell them apart: the folders' own, or else whole paths."""
    absolute = list(dict.fromkeys(Path(os.path.normpath(p.expanduser().absolute())) for p in paths))
    short = {path.name for path in absolute}
    unique = len(short) == len(absolute)
    return {path.name if unique else str(path): load_run(path) for path in absolute}


def run_facts(run: RunResults) -> dict[str, Any]:
    """Return what is compared of one run, as JSON values; what is unknown is `None`.

    Accuracies are shares, losses mostly nats, times seconds.
    """
    summary = run.summary or {}
    central = [(r.server_round, r.central) for r in run.rounds if r.central]
    federated = [(r.server_round, r.federated) for r in run.rounds if r.federated]
    scores = [report.score for report in run.rounds if report.score]
    name, metric = next(iter(run.metrics.items()))
    others = [m for m in run.metrics if m != LOSS] or [LOSS]
    return {
        "dataset": run.dataset,
        "rounds": run.rounds[-1].server_round if run.rounds else None,
        "reason": run.reason,
        **{f"central {m}": _last(m, central) for m in others},
        "best central": _best(name, metric, central),
        **{f"federated {m}": _last(m, federated) for m in others},
        "best federated": _best(name, metric, federated),
        "loss": scores[-1].loss if scores and math.isfinite(scores[-1].loss) else None,
        "bytes up": _total(run.rounds, lambda report: report.bytes_up),
        "bytes down": _total(run.rounds, lambda report: report.bytes_down),
        "seconds": round(run.seconds, 3),
        "failures": _total(run.rounds, lambda report: len(report.failures)),
        "participants": summary.get("participants", run.run_config.get("num-participants")),
        "weights": run.weights_digest,
    }


def _last(metric: str, scores: Sequence[tuple[int, Score]]) -> float | None:
    return scores[-1][1].value(metric) if scores else None


def _best(name: str, metric: Metric, scores: Sequence[tuple[int, Score]]) -> dict[str, Any] | None:
    """Return the best value and the first round that reached it."""
    found = [(score.value(name), number) for number, score in scores]
    known = [(value, number) for value, number in found if value is not None]
    if not known:
        return None
    value, number = max(known, key=lambda item: (metric.gain(item[0], 0.0), -item[1]))
    return {name: value, "round": number}


def _total(rounds: Sequence[RoundReport], size: Callable[[RoundReport], int]) -> int:
    return sum(size(report) for report in rounds)


def differing_settings(runs: Sequence[RunResults]) -> dict[str, list[Any]]:
    """Return settings and versions that are not the same in all runs, one value per run.

    Where a run reads and writes does not count. `None` stands for a key that a run lacks.
    """
    settings = [
        {key: value for key, value in run.run_config.items() if key not in _PLACES}
        | {"python": run.config.get("python")}
        | {f"{name} version": v for name, v in run.config.get("packages", {}).items()}
        for run in runs
    ]
    keys = dict.fromkeys(key for one in settings for key in one)
    columns = {key: [one.get(key) for one in settings] for key in keys}
    # The data set has a row of its own in any case.
    return {k: v for k, v in columns.items() if k != "dataset" and len(set(map(repr, v))) > 1}


def identical_groups(runs: dict[str, RunResults]) -> list[list[str]]:
    """Return the names of runs whose final weights are equal to the bit, group by group."""
    groups: dict[str, list[str]] = {}
    for name, run in runs.items():
        if run.weights_digest:
            groups.setdefault(run.weights_digest, []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _show(runs: dict[str, RunResults], as_json: bool) -> None:
    facts = {name: run_facts(run) for name, run in runs.items()}
    settings = differing_settings(list(runs.values()))
    groups = identical_groups(runs)
    if as_json:
        columns = {
            name: {**facts[name], "settings": {key: row[i] for key, row in settings.items()}}
            for i, name in enumerate(runs)
        }
        print(json.dumps({"runs": columns, "identical weights": groups}, indent=2))
        return
    quantities = dict.fromkeys(quantity for known in facts.values() for quantity in known)
    rows: list[Row] = [
        (
            quantity,
            [_cell(quantity, facts[n].get(quantity), run.metrics) for n, run in runs.items()],
        )
        for quantity in sorted(quantities, key=_rank)
    ]
    rows += [
        (key, [_ABSENT if v is None else str(v) for v in row]) for key, row in settings.items()
    ]
    if sys.stdout.isatty():
        _print_rich(list(runs), rows)
    else:
        _print_plain(list(runs), rows)
    for names in groups:
        print(f"identical weights: {', '.join(names)}")


def _rank(quantity: str) -> int:
    """Keep what is alike together, where runs of different tasks have different metrics."""
    heads = ("dataset", "rounds", "reason", "central", "best central", "federated", "best fed")
    ranks = [i for i, head in enumerate(heads) if quantity.startswith(head)]
    return ranks[0] if ranks else len(heads)


def _cell(quantity: str, value: Any, metrics: Mapping[str, Metric]) -> str:  # noqa: ANN401 - JSON
    """Write a value in the units that a reader wants."""
    if value is None:
        return _ABSENT
    if quantity == "reason":  # may be an error of many lines; JSON has it whole
        return textwrap.shorten(value, 60, placeholder=" ...")
    if quantity.startswith("best"):
        ((name, best),) = [(k, v) for k, v in value.items() if k != "round"]
        return f"{metrics[name].show(best)} (round {value['round']})"
    if quantity.startswith(("central ", "federated ")):
        return metrics[quantity.partition(" ")[2]].show(value)
    if quantity.startswith("bytes"):
        return f"{value / 1e6:,.1f} MB"
    forms = {"loss": "{:.4f}", "seconds": "{:,.1f}", "weights": "{:.12}"}
    return forms.get(quantity, "{}").format(value)


def _print_plain(names: Sequence[str], rows: Sequence[Row]) -> None:
    table = [("run", list(names)), *rows]
    widths = [max(len(row[i]) for _, row in table) for i in range(len(names))]
    first = max(len(quantity) for quantity, _ in table)
    for quantity, row in table:
        cells = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        print(f"{quantity:<{first}}  {cells}".rstrip())


def _print_rich(names: Sequence[str], rows: Sequence[Row]) -> None:
    """Print a table, in as many parts as the width of the terminal asks for."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    at_once = max(1, (console.width - 24) // 25)
    for start in range(0, len(names), at_once):
        part = slice(start, start + at_once)
        table = Table("run")
        for name in names[part]:
            table.add_column(Text(name), overflow="fold")
        for quantity, row in rows:
            table.add_row(quantity, *map(Text, row[part]))
        console.print(table)


def _common_metrics(runs: Sequence[RunResults]) -> dict[str, Metric]:
    """Return the metrics that all runs have, in the order of the first; the loss at least."""
    return {
        name: metric
        for name, metric in runs[0].metrics.items()
        if all(name in run.metrics for run in runs)
    }


def _plot(runs: dict[str, RunResults], path: Path) -> None:
    from fl_app.plots.run_comparison import plot_comparison

    target = path.expanduser().absolute()
    datasets = ", ".join(sorted({run.dataset for run in runs.values()}))
    title = (
        f"{len(runs)} runs on {datasets}" if len(runs) > 1 else f"{next(iter(runs))}, {datasets}"
    )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        metrics = _common_metrics(list(runs.values()))
        plot_comparison({name: run.rounds for name, run in runs.items()}, target, title, metrics)
    except (OSError, ValueError) as error:  # ValueError: a format that matplotlib does not know
        raise UserError(f"the picture {target} cannot be written: {error}") from error
    print(f"picture: {target}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
