"""What a study came to, as a Markdown table."""

import statistics
from collections.abc import Mapping, Sequence
from typing import TypedDict

from scripts.studies.definitions import Study


class Round(TypedDict):
    """One round of one run; round 0 is the initial model.

    Attributes:
        round: Its number.
        accuracy: Of the global model after it, on the test set.
        bytes_up: What participants sent in it, all together.
    """

    round: int
    accuracy: float
    bytes_up: int


Results = Mapping[str, Sequence[Round]]
"""By the name of a run: its rounds."""


def study_table(study: Study, results: Results) -> str:
    """Return the results as a Markdown table."""
    if study.layout == "grid":
        return _grid(results)
    if study.layout == "seeds":
        return _by_case(results)
    return _by_run(study, results)


def rounds_to(target: float, rounds: Sequence[Round]) -> int | None:
    """Return the first round that reached an accuracy, if one did."""
    return next((row["round"] for row in rounds if row["accuracy"] >= target), None)


def bytes_sent(rounds: Sequence[Round]) -> int:
    """Return what participants sent in all rounds together."""
    return sum(row["bytes_up"] for row in rounds)


def final_accuracies(results: Results) -> dict[str, dict[str, float]]:
    """Return the last accuracy of each run named `row | column`, by row and column."""
    cells: dict[str, dict[str, float]] = {}
    for name, rounds in results.items():
        row, _, column = name.partition(" | ")
        cells.setdefault(row, {})[column] = rounds[-1]["accuracy"]
    return cells


def _by_run(study: Study, results: Results) -> str:
    first = next(iter(results.values()))
    header = ["run", "final accuracy"]
    if study.layout == "bytes":
        header += ["points below the first", "bytes up", "times fewer"]
    if study.target is not None:
        header += [f"rounds to {study.target:.0%}"]
    rows = []
    for name, rounds in results.items():
        cells = [name, f"{rounds[-1]['accuracy']:.2%}"]
        if study.layout == "bytes":
            lost = 100 * (first[-1]["accuracy"] - rounds[-1]["accuracy"])
            sent = bytes_sent(rounds)
            cells += [f"{lost:.2f}", f"{sent:,}", f"{bytes_sent(first) / sent:.1f}"]
        if study.target is not None:
            cells += [str(rounds_to(study.target, rounds) or "-")]
        rows.append(cells)
    return _markdown(header, rows)


def _grid(results: Results) -> str:
    cells = final_accuracies(results)
    columns = list(dict.fromkeys(column for row in cells.values() for column in row))
    rows = [
        [row, *(f"{values[column]:.1%}" if column in values else "" for column in columns)]
        for row, values in cells.items()
    ]
    return _markdown(["", *columns], rows)


def _by_case(results: Results) -> str:
    rows = []
    for case, by_seed in final_accuracies(results).items():
        values = [100 * value for value in by_seed.values()]
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        rows.append([case, f"{len(values)}", f"{statistics.mean(values):.2f} ± {deviation:.2f} %"])
    return _markdown(["", "seeds", "final accuracy, mean ± standard deviation"], rows)


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
