"""Pictures for looking deeper into runs: communication, participants, comparison.

Figures are drawn without pyplot, which keeps global state and may want a display.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from fl_app.results.reader import megabytes_so_far
from fl_app.results.records import ParticipantReport, RoundReport, Score

_INK = "#333333"
_CENTRAL, _FEDERATED, _FAILED = "#1f5fa8", "#d9730d", "#b3261e"
_MOST_LINES = 12
_MOST_COUNTS = 25
_MARKERS = "osD^vP"

Point = tuple[float, float]


def plot_communication(reports: Sequence[RoundReport], path: Path, title: str) -> None:
    """Draw accuracy and loss by the megabytes sent so far, both ways and by everybody.

    Args:
        reports: Rounds, ascending.
        path: PNG file to write; its folder must exist.
        title: Above the picture.
    """
    figure, (left, right) = _panels(2, title)
    megabytes = megabytes_so_far(reports)
    for name, scores, colour, style in (
        ("central: the whole test set", [r.central for r in reports], _CENTRAL, "o-"),
        ("federated: the participants' own", [r.federated for r in reports], _FEDERATED, "s--"),
    ):
        for axes, values in ((left, _accuracies(scores)), (right, _losses(scores))):
            _draw_line(axes, _measured(megabytes, values), style, color=colour, label=name)
    _focus(left)
    _focus(right)
    _finish(left, "accuracy", "megabytes sent so far", share=True)
    _finish(right, "loss", "megabytes sent so far")
    _legend(figure, left, columns=2)
    figure.savefig(path, dpi=150)


def plot_participants(reports: Sequence[RoundReport], path: Path, title: str) -> None:
    """Draw how participants differ: training accuracy and update norm, by round.

    A line is the median, a band reaches from the least to the greatest. Up to 12 participants
    have lines of their own. A cross at the bottom, with a count, tells who contributed nothing.

    Args:
        reports: Rounds, ascending; those in which nobody was asked to train are left out.
        path: PNG file to write; its folder must exist.
        title: Above the picture.
    """
    figure, (left, right) = _panels(2, title)
    trained = [report for report in reports if report.participants]
    for axes, field in ((left, "train_accuracy"), (right, "update_norm")):
        _draw_spread(axes, trained, field)
        _finish(axes, "", "round", share=field == "train_accuracy", whole=True)
        _draw_failures(axes, trained)
    left.set_title("training accuracy, last local epoch", color=_INK, fontsize=11)
    right.set_title("norm of the update", color=_INK, fontsize=11)
    _legend(figure, left, columns=4)
    figure.savefig(path, dpi=150)


def plot_comparison(runs: Mapping[str, Sequence[RoundReport]], path: Path, title: str) -> None:
    """Draw several runs: accuracy by round and by megabytes sent, and loss by round.

    The score is the central one where there is one, else the federated.

    Args:
        runs: Rounds, ascending, by the name of the run; the legend keeps the order.
        path: PNG file to write; its folder must exist.
        title: Above the picture.
    """
    figure, (by_round, by_megabyte, loss) = _panels(3, title)
    for index, (name, reports) in enumerate(runs.items()):
        scores = [report.score for report in reports]
        numbers = [float(report.server_round) for report in reports]
        accuracies, megabytes = _accuracies(scores), megabytes_so_far(reports)
        measured = [value for value in accuracies if value is not None]
        look: dict[str, Any] = {
            "color": colormaps["tab10"](index % 10),
            "marker": _MARKERS[index % len(_MARKERS)],
            # Runs may lie on top of each other; a dashed line lets the one below show.
            "linestyle": ("-", "--", "-.", ":")[index % 4],
            "label": f"{name} (last {measured[-1]:.2%})" if measured else name,
        }
        _draw_line(by_round, _measured(numbers, accuracies), **look)
        _draw_line(by_megabyte, _measured(megabytes, accuracies), **look)
        _draw_line(loss, _measured(numbers, _losses(scores)), **look)
    for axes in (by_round, by_megabyte, loss):
        _focus(axes)
    _finish(by_round, "accuracy by round", "round", share=True, whole=True)
    _finish(by_megabyte, "accuracy by communication", "megabytes sent so far", share=True)
    _finish(loss, "loss by round", "round", whole=True)
    _legend(figure, by_round, columns=3)
    figure.savefig(path, dpi=150)


def _panels(count: int, title: str) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(5.3 * count, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, color=_INK, fontsize=13)
    return figure, list(figure.subplots(1, count))


def _accuracies(scores: Sequence[Score | None]) -> list[float | None]:
    return [score.accuracy if score else None for score in scores]


def _losses(scores: Sequence[Score | None]) -> list[float | None]:
    return [score.loss if score else None for score in scores]


def _measured(x: Sequence[float], y: Sequence[float | None]) -> list[Point]:
    return [(a, b) for a, b in zip(x, y, strict=True) if b is not None and np.isfinite(b)]


def _draw_line(axes: Axes, points: Sequence[Point], *style: str, **look: Any) -> None:  # noqa: ANN401
    if points:
        crowded = len(points) > 40
        axes.plot(*zip(*points, strict=True), *style, ms=0 if crowded else 4, **look)


def _finish(axes: Axes, title: str, x: str, share: bool = False, whole: bool = False) -> None:
    axes.set_title(title, color=_INK, fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_INK)
    axes.grid(axis="y", color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel(x, color=_INK)
    if whole:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if share:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def _focus(axes: Axes) -> None:
    """Scale to the trained rounds, where the differences are; say if that hides round 0."""
    points = [point for line in axes.get_lines() for point in np.asarray(line.get_xydata())]
    trained = [y for x, y in points if x > 0]
    if len(trained) < 2:
        return
    margin = max(0.08 * (max(trained) - min(trained)), 1e-3)
    bottom, top = min(trained) - margin, max(trained) + margin
    axes.set_ylim(bottom, top)
    below = any(y < bottom for _, y in points)
    if below or any(y > top for _, y in points):
        y, va = (0.03, "bottom") if below else (0.97, "top")
        look: dict[str, Any] = {
            "transform": axes.transAxes,
            "ha": "right",
            "fontsize": 8,
            "color": _INK,
        }
        axes.text(0.98, y, "the initial model is off the scale", va=va, **look)


def _legend(figure: Figure, axes: Axes, columns: int) -> None:
    handles, names = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False)


def _draw_spread(axes: Axes, reports: Sequence[RoundReport], field: str) -> None:
    lines: dict[str, list[Point]] = {}
    rounds: list[float] = []
    values: list[list[float]] = []  # of each round
    for report in reports:
        known = {p.participant: _value(p, field) for p in report.participants}
        for name, value in known.items():
            if value is not None:
                lines.setdefault(name, []).append((report.server_round, value))
        if measured := [value for value in known.values() if value is not None]:
            rounds.append(report.server_round)
            values.append(measured)
    low, high = [min(v) for v in values], [max(v) for v in values]
    axes.fill_between(
        rounds, low, high, color=_CENTRAL, alpha=0.15, lw=0, label="least to greatest"
    )
    thin: dict[str, Any] = {"color": "#777777", "lw": 0.8, "alpha": 0.7}
    if len(lines) <= _MOST_LINES:
        for index, points in enumerate(lines.values()):
            _draw_line(axes, points, ".-", label="_" if index else "one participant", **thin)
    middle = [float(np.median(v)) for v in values]
    points = list(zip(rounds, middle, strict=True))
    _draw_line(axes, points, "o-", color=_CENTRAL, lw=2, label="median")


def _value(participant: ParticipantReport, field: str) -> float | None:
    value: float | None = getattr(participant, field)
    return value if value is not None and np.isfinite(value) else None


def _draw_failures(axes: Axes, reports: Sequence[RoundReport]) -> None:
    failed = [(r.server_round, len(r.failures)) for r in reports if r.failures]
    if not failed:
        return
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.16 * (high - low), high)  # room for the crosses
    across = axes.get_xaxis_transform()
    look: dict[str, Any] = {"color": _FAILED, "transform": across}
    rounds = [server_round for server_round, _ in failed]
    axes.plot(rounds, [0.04] * len(rounds), "x", ms=7, mew=2, label="failed", **look)
    every = -(-len(failed) // _MOST_COUNTS)  # in a long run, numbers would run into each other
    for server_round, count in failed[::every]:
        axes.text(server_round, 0.075, str(count), ha="center", fontsize=9, **look)
