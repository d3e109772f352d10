"""Pictures for looking deeper into runs: communication, participants, comparison.

Figures are drawn without pyplot, which keeps global state and may want a display.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from fl_app.core.metrics import LOSS, Metric
from fl_app.results.reader import megabytes_so_far
from fl_app.results.records import ParticipantReport, RoundReport, Score

_INK = "#333333"
_CENTRAL, _FEDERATED, _FAILED = "#1f5fa8", "#d9730d", "#b3261e"
_MOST_LINES = 12
_MOST_COUNTS = 25
_MARKERS = "osD^vP"

Point = tuple[float, float]
Value = Callable[[ParticipantReport], float | None]


def plot_communication(
    reports: Sequence[RoundReport], path: Path, metrics: Mapping[str, Metric], title: str
) -> None:
    """Draw metrics by the megabytes sent so far, both ways and by everybody.

    Args:
        reports: Rounds, ascending.
        metrics: What to draw, by name: the task's first, and the loss.
        path: PNG file to write; its folder must exist.
        title: Above the picture.
    """
    shown = _first_and_loss(metrics)
    figure, panels = _panels(len(shown), title)
    megabytes = megabytes_so_far(reports)
    for name, scores, colour, style in (
        ("central: the whole test set", [r.central for r in reports], _CENTRAL, "o-"),
        ("federated: the participants' own", [r.federated for r in reports], _FEDERATED, "s--"),
    ):
        for axes, metric in zip(panels, shown, strict=True):
            points = _measured(megabytes, _values(scores, metric))
            _draw_line(axes, points, style, color=colour, label=name)
    for axes, metric in zip(panels, shown, strict=True):
        _focus(axes)
        _finish(axes, metric, "megabytes sent so far", share=metrics[metric].percent)
    _legend(figure, panels[0], columns=2)
    figure.savefig(path, dpi=150)


def plot_participants(
    reports: Sequence[RoundReport], path: Path, metrics: Mapping[str, Metric], title: str
) -> None:
    """Draw how participants differ: the first metric in training and the update norm, by round.

    A line is the median, a band reaches from the least to the greatest. Up to 12 participants
    have lines of their own. A cross at the bottom, with a count, tells who contributed nothing.

    Args:
        reports: Rounds, ascending; those in which nobody was asked to train are left out.
        metrics: The task's, by name.
        path: PNG file to write; its folder must exist.
        title: Above the picture.
    """
    figure, (left, right) = _panels(2, title)
    trained = [report for report in reports if report.participants]
    name, metric = next(iter(metrics.items()))
    panels: tuple[tuple[Axes, str, bool, Value], ...] = (
        (left, f"training {name}, last local epoch", metric.percent, partial(_trained, name)),
        (right, "norm of the update", False, lambda one: one.update_norm),
    )
    for axes, heading, share, value in panels:
        _draw_spread(axes, trained, value)
        _finish(axes, heading, "round", share=share, whole=True)
        _draw_failures(axes, trained)
    _legend(figure, left, columns=4)
    figure.savefig(path, dpi=150)


def plot_comparison(
    runs: Mapping[str, Sequence[RoundReport]],
    path: Path,
    title: str,
    metrics: Mapping[str, Metric],
) -> None:
    """Draw several runs: the first metric by round and by megabytes sent, and loss by round.

    The score is the central one where there is one, else the federated.

    Args:
        runs: Rounds, ascending, by the name of the run; the legend keeps the order.
        path: PNG file to write; its folder must exist.
        title: Above the picture.
        metrics: The runs' metrics, by name; the first is drawn.
    """
    name, metric = next(iter(metrics.items()))
    figure, (by_round, by_megabyte, loss) = _panels(3, title)
    for index, (run, reports) in enumerate(runs.items()):
        scores = [report.score for report in reports]
        numbers = [float(report.server_round) for report in reports]
        values, megabytes = _values(scores, name), megabytes_so_far(reports)
        measured = [value for value in values if value is not None]
        look: dict[str, Any] = {
            "color": colormaps["tab10"](index % 10),
            "marker": _MARKERS[index % len(_MARKERS)],
            # Runs may lie on top of each other; a dashed line lets the one below show.
            "linestyle": ("-", "--", "-.", ":")[index % 4],
            "label": f"{run} (last {metric.show(measured[-1])})" if measured else run,
        }
        _draw_line(by_round, _measured(numbers, values), **look)
        _draw_line(by_megabyte, _measured(megabytes, values), **look)
        _draw_line(loss, _measured(numbers, _values(scores, LOSS)), **look)
    for axes in (by_round, by_megabyte, loss):
        _focus(axes)
    share = metric.percent
    _finish(by_round, f"{name} by round", "round", share=share, whole=True)
    _finish(by_megabyte, f"{name} by communication", "megabytes sent so far", share=share)
    _finish(loss, "loss by round", "round", whole=True)
    _legend(figure, by_round, columns=3)
    figure.savefig(path, dpi=150)


def _panels(count: int, title: str) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(5.3 * count, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, color=_INK, fontsize=13)
    return figure, list(figure.subplots(1, count, squeeze=False).flat)


def _first_and_loss(metrics: Mapping[str, Metric]) -> list[str]:
    return list(dict.fromkeys([next(iter(metrics)), LOSS]))


def _values(scores: Sequence[Score | None], metric: str) -> list[float | None]:
    return [score.value(metric) if score else None for score in scores]


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


def _draw_spread(axes: Axes, reports: Sequence[RoundReport], value_of: Value) -> None:
    lines: dict[str, list[Point]] = {}
    rounds: list[float] = []
    values: list[list[float]] = []  # of each round
    for report in reports:
        known = {p.participant: _finite(value_of(p)) for p in report.participants}
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


def _trained(metric: str, participant: ParticipantReport) -> float | None:
    return participant.train_loss if metric == LOSS else participant.train_metrics.get(metric)


def _finite(value: float | None) -> float | None:
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
