"""Pictures of a run: who holds which labels, and how accuracy and loss went.

Figures are drawn without pyplot, which keeps global state and may want a display.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from fl_app.core.metrics import Metric

_MOST_BARS = 40
_MOST_PANELS = 3  # side by side
_INK = "#333333"
_CENTRAL, _FEDERATED = "#1f5fa8", "#d9730d"


def plot_label_distribution(
    counts: npt.NDArray[np.int64],
    class_names: Sequence[str],
    path: Path,
    title: str,
    participants: Sequence[str] | None = None,
) -> None:
    """Draw how many examples of each class every participant holds.

    Up to 40 participants are stacked horizontal bars; more are a heat map, one row each.

    Args:
        counts: Examples, [participants, classes].
        class_names: One per column.
        path: PNG file to write; its folder must exist.
        title: Above the picture.
        participants: Their names, where they are not 0, 1, ...

    Raises:
        ValueError: If `counts` is empty, or is not a table with one column per class name.
    """
    if counts.ndim != 2 or not counts.size or counts.shape[1] != len(class_names):
        raise ValueError(f"counts {counts.shape} do not fit {len(class_names)} class names")
    bars = len(counts) <= _MOST_BARS
    height = 1.6 + 0.3 * max(len(counts), 8) if bars else 7.0
    figure, axes = _figure(9.0, height, title)
    if bars:
        _draw_bars(axes, counts, class_names)
    else:
        _draw_heat_map(figure, axes, counts, class_names)
    if bars and participants is not None:
        axes.set_yticks(np.arange(len(counts)), participants)
    axes.set_ylabel("participant", color=_INK)
    figure.savefig(path, dpi=150)


@dataclass(frozen=True)
class Curves:
    """One metric by round.

    Attributes:
        name: The metric.
        metric: What its numbers mean.
        central: On the whole test set, one value per round; `None` where not measured.
        federated: Over the participants' own test examples, likewise.
    """

    name: str
    metric: Metric
    central: Sequence[float | None]
    federated: Sequence[float | None]


def plot_history(rounds: Sequence[int], curves: Sequence[Curves], path: Path, title: str) -> None:
    """Draw metrics by round, a panel for each.

    The scale is that of the trained rounds, where the differences are; an initial model that is
    off the scale is told in words.

    Args:
        rounds: Round numbers, ascending; 0 is the initial model.
        curves: What was measured, at least one.
        path: PNG file to write; its folder must exist.
        title: Above the picture.

    Raises:
        ValueError: If a sequence is not as long as `rounds`.
    """
    rows = -(-len(curves) // _MOST_PANELS)
    columns = -(-len(curves) // rows)
    size = (5.5 * max(2, columns), 1 + 3.4 * rows)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, color=_INK, fontsize=13)
    panels = np.ravel(figure.subplots(rows, columns))
    for unused in panels[len(curves) :]:
        unused.set_visible(False)
    for axes, one in zip(panels, curves, strict=False):
        _draw_curves(axes, rounds, one.central, one.federated)
        _focus(axes, one.metric.show)
        axes.set_title(_panel_title(one))
        if one.metric.percent:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    handles, names = panels[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, dpi=150)


def _panel_title(curves: Curves) -> str:
    """Name the panel and the last measured values, which a reader wants most."""
    last = [
        f"{name} {curves.metric.show(measured[-1])}"
        for name, values in (("central", curves.central), ("federated", curves.federated))
        if (measured := [value for value in values if value is not None])
    ]
    return f"{curves.name} (last: {', '.join(last)})" if last else curves.name


def _figure(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_title(title, color=_INK, fontsize=13, pad=12)
    _plain(axes)
    return figure, axes


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_INK)


def _draw_bars(axes: Axes, counts: npt.NDArray[np.int64], class_names: Sequence[str]) -> None:
    ids = np.arange(len(counts))
    starts = np.cumsum(counts, axis=1) - counts
    palette = colormaps["tab10" if len(class_names) <= 10 else "tab20"]
    for label, name in enumerate(class_names):
        axes.barh(
            ids,
            counts[:, label],
            left=starts[:, label],
            height=0.8,
            color=palette(label % palette.N),
            edgecolor="white",
            linewidth=0.4,
            label=name,
        )
    totals = counts.sum(axis=1)
    for participant, total in enumerate(totals):
        axes.annotate(
            f"{total:,}",
            (float(total), participant),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=_INK,
        )
    axes.set_xlim(0, max(1.0, totals.max() * 1.09))
    axes.set_yticks(ids)
    axes.set_ylim(len(counts) - 0.4, -0.6)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("examples", color=_INK)
    if len(class_names) > 1:
        axes.legend(title="class", loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _draw_heat_map(
    figure: Figure, axes: Axes, counts: npt.NDArray[np.int64], class_names: Sequence[str]
) -> None:
    image = axes.imshow(counts, aspect="auto", cmap="viridis", interpolation="nearest", vmin=0)
    slanted = max(len(name) for name in class_names) > 3
    axes.set_xticks(
        np.arange(len(class_names)),
        list(class_names),
        rotation=40 if slanted else 0,
        ha="right" if slanted else "center",
    )
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("class", color=_INK)
    figure.colorbar(image, ax=axes, label="examples", pad=0.02)


def _draw_curves(
    axes: Axes,
    rounds: Sequence[int],
    central: Sequence[float | None],
    federated: Sequence[float | None],
) -> None:
    drawn = (
        (central, "central: the whole test set", _CENTRAL, "o", "-"),
        (federated, "federated: the participants' own test examples", _FEDERATED, "s", "--"),
    )
    for values, name, colour, marker, line in drawn:
        if len(values) != len(rounds):
            raise ValueError(f"{len(values)} values do not fit {len(rounds)} rounds")
        points = [(r, v) for r, v in zip(rounds, values, strict=True) if v is not None]
        if points:
            axes.plot(
                *zip(*points, strict=True), line, marker=marker, ms=4, color=colour, label=name
            )
    _plain(axes)
    axes.grid(axis="y", color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("round", color=_INK)


def _focus(axes: Axes, show: Callable[[float], str]) -> None:
    points = [point for line in axes.get_lines() for point in np.asarray(line.get_xydata())]
    trained = [y for x, y in points if x > 0 and np.isfinite(y)]
    if len(trained) < 2:
        return
    margin = max(0.08 * (max(trained) - min(trained)), 1e-3)
    low, high = min(trained) - margin, max(trained) + margin
    axes.set_ylim(low, high)
    for x, y in points:
        if x == 0 and not low <= y <= high:
            where, va = (0.03, "bottom") if y < low else (0.97, "top")
            note = f"round 0: {show(y)}, off the scale"
            axes.text(0.98, where, note, transform=axes.transAxes, ha="right", va=va, fontsize=8)
