"""Interleaved measurements, and the table that they become."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Case = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        table: The table it belongs to.
        case: What was measured.
        seconds: Median wall-clock time of one run.
        spread: Slowest run divided by fastest: how far to trust the row.
        ratio: How many times as fast as, or as long as, the table's base; see `ratio_name`.
        ratio_name: What `ratio` says.
        rate: Work per second.
        unit: Of `rate`.
    """

    table: str
    case: str
    seconds: float
    spread: float
    ratio: float
    ratio_name: str
    rate: float
    unit: str


def interleave(cases: Mapping[str, Case], repeats: int) -> dict[str, list[float]]:
    """Time every case in turn, again and again, so that a busy moment hits all alike.

    Args:
        cases: What to run; each runs once unmeasured first.
        repeats: How often.

    Returns:
        The seconds of each repeat, by case.
    """
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for repeat in range(repeats + 1):
        for name, case in cases.items():
            start = time.perf_counter()
            case()
            if repeat > 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Return the median of the ratios of runs that were neighbours in time."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def spread(seconds: Sequence[float]) -> float:
    """Return the slowest of some runs divided by the fastest."""
    return max(seconds) / min(seconds)


def as_markdown(rows: Sequence[Row]) -> str:
    """Return one Markdown table per `Row.table`."""
    lines: list[str] = []
    for table in dict.fromkeys(row.table for row in rows):
        part = [row for row in rows if row.table == table]
        lines += ["", f"| {table} | {part[0].unit} | {part[0].ratio_name} | slowest / fastest |"]
        lines.append("| --- | --- | --- | --- |")
        for row in part:
            rate = f"{row.rate:,.0f}" if row.rate >= 100 else f"{row.rate:.2f}"
            lines.append(f"| {row.case} | {rate} | {row.ratio:.3g} | {row.spread:.2f} |")
    return "\n".join(lines[1:]) + "\n"
