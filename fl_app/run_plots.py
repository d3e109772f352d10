"""Pictures for looking deeper into runs: communication, participants, comparison, confusion.

Figures are drawn without pyplot, which keeps global state and may want a display.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from fl_app.reports import ParticipantReport, RoundReport, Score
from fl_app.results import megabytes_so_far

_INK = "#333333"
_CENTRAL, _FEDERATED, _FAILED = "#1f5fa8", "#d9730d", "#b3261e"
_MOST_LINES = 12
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
        look = {
            "color": colormaps["tab10"](index % 10),
            "marker": _MARKERS[index % len(_MARKERS)],
            # Runs may lie on top of each other; a dashed line lets the one below show.
            "linestyle": ("-", "--", "-.", ":")[index % 4],
            "label": f"{name} (last {measured[-1]:.2%})" if measured else name,
        }
        _draw_line(by_round, _measured(numbers, accuracies), **look)
        _draw_line(by_megabyte, _measured(megabytes, accuracies), **look)
        _draw_line(loss, _measured(numbers, _losses(scores)), **look)
    _finish(by_round, "accuracy by round", "round", share=True, whole=True)
    _finish(by_megabyte, "accuracy by communication", "megabytes sent so far", share=True)
    _finish(loss, "loss by round", "round", whole=True)
    _legend(figure, by_round, columns=2)
    figure.savefig(path, dpi=150)


def plot_confusion(
    counts: npt.NDArray[np.int64], class_names: Sequence[str], path: Path, title: str
) -> None:
    """Draw a confusion matrix: counts in the cells, coloured by their share of the row.

    Args:
        counts: Examples, [true class, predicted class].
        class_names: One per row and column.
        path: PNG file to write; its folder must exist.
        title: Above the picture.

    Raises:
        ValueError: If `counts` is not a square table with one row per class name.
    """
    if counts.shape != (len(class_names), len(class_names)):
        raise ValueError(f"counts {counts.shape} do not fit {len(class_names)} class names")
    side = 2.2 + 0.68 * len(class_names)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            text = f"{count:,}\n{_percent(float(shares[row, column]))}"
            colour = "white" if shares[row, column] > 0.5 else _INK
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    ticks, long = range(len(class_names)), max(map(len, class_names)) > 3
    rotation, alignment = (40, "right") if long else (0, "center")
    axes.set_xticks(ticks, class_names, rotation=rotation, ha=alignment)
    axes.set_yticks(ticks, class_names)
    axes.set_xlabel("predicted class", color=_INK)
    axes.set_ylabel("true class", color=_INK)
    axes.set_title(title, color=_INK, fontsize=13, pad=12)
    bar = figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    figure.savefig(path, dpi=150)


def _percent(share: float) -> str:
    return f"{share:.0%}" if share in (0.0, 1.0) else f"{share:.1%}"


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


def _draw_line(axes: Axes, points: Sequence[Point], *style: str, **look: object) -> None:
    if points:
        crowded = len(points) > 40
        axes.plot(*zip(*points, strict=True), *style, ms=0 if crowded else 4, **look)  # type: ignore[arg-type]


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


def _legend(figure: Figure, axes: Axes, columns: int) -> None:
    handles, names = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False)


def _draw_spread(axes: Axes, reports: Sequence[RoundReport], field: str) -> None:
    by_name: dict[str, list[Point]] = {}
    summary: list[tuple[float, float, float, float]] = []
    for report in reports:
        known = [
            (p.participant, v) for p in report.participants if (v := _value(p, field)) is not None
        ]
        for name, value in known:
            by_name.setdefault(name, []).append((report.server_round, value))
        if known:
            values = [value for _, value in known]
            middle = float(np.median(values))
            summary.append((report.server_round, min(values), middle, max(values)))
    if not summary:
        return
    rounds, low, middle, high = zip(*summary, strict=True)
    axes.fill_between(
        rounds, low, high, color=_CENTRAL, alpha=0.15, lw=0, label="least to greatest"
    )
    if len(by_name) <= _MOST_LINES:
        for index, points in enumerate(by_name.values()):
            label = "one participant" if index == 0 else "_"
            _draw_line(axes, points, "-", color="#777777", lw=0.8, alpha=0.7, label=label)
    _draw_line(
        axes, list(zip(rounds, middle, strict=True)), "o-", color=_CENTRAL, lw=2, label="median"
    )


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
    rounds = [server_round for server_round, _ in failed]
    axes.plot(
        rounds,
        [0.04] * len(rounds),
        "x",
        color=_FAILED,
        ms=7,
        mew=2,
        transform=across,
        label="failed",
    )
    for server_round, count in failed:
        axes.text(
            server_round,
            0.075,
            str(count),
            color=_FAILED,
            ha="center",
            fontsize=9,
            transform=across,
        )
