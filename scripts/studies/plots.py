"""Pictures of studies, to be read without a legend: lines carry their names."""

import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from scripts.studies.definitions import Study
from scripts.studies.tables import Results, Round, bytes_sent, final_accuracies, rounds_to

_BASELINE = "#444444"
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito
_POINTS_SHOWN = 30.0  # of accuracy, below the best
_GRID_WITHIN = 2.0  # points of accuracy


def plot_study(study: Study, results: Results, path: Path) -> None:
    """Draw the results and save them as a PNG."""
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    _LAYOUTS[study.layout](figure, study, results)
    figure.suptitle(study.title, fontweight="bold")
    figure.savefig(path, dpi=110)


def _curves(figure: Figure, study: Study, results: Results) -> None:
    by_round, by_target = figure.subplots(1, 2, width_ratios=(3, 2))
    _plot_by_round(by_round, study, results)
    _plot_rounds_to_target(by_target, study, results)


def _bytes(figure: Figure, study: Study, results: Results) -> None:
    by_round, by_bytes = figure.subplots(1, 2, width_ratios=(3, 2))
    _plot_by_round(by_round, study, results)
    best = 100 * next(iter(results.values()))[-1]["accuracy"]
    for (name, rounds), colour in zip(results.items(), _colours(results), strict=True):
        sent, accuracy = bytes_sent(rounds) / 1e6, 100 * rounds[-1]["accuracy"]
        by_bytes.plot(sent, accuracy, "o", color=colour, markersize=9)
        times = bytes_sent(next(iter(results.values()))) / bytes_sent(rounds)
        by_bytes.annotate(
            f"{name}\n{times:.0f} times fewer" if times > 1 else name,
            (sent, accuracy),
            textcoords="offset points",
            xytext=(0, -12),
            ha="center",
            va="top",
            color=colour,
            fontsize=9,
        )
    by_bytes.axhspan(best - 0.5, best, color="#009E73", alpha=0.12, lw=0)
    by_bytes.set(
        xlabel="megabytes from participants, all rounds",
        ylabel="final accuracy (%); shaded: within half a point",
        xscale="log",
    )
    by_bytes.margins(x=0.4, y=0.25)
    by_bytes.grid(alpha=0.3)


def _plot_by_round(axes: Axes, study: Study, results: Results) -> None:
    ends = []
    for (name, rounds), colour in zip(results.items(), _colours(results), strict=True):
        accuracy = [100 * row["accuracy"] for row in rounds]
        axes.plot([row["round"] for row in rounds], accuracy, marker=".", color=colour, label=name)
        ends.append((accuracy[-1], name, colour))
    last = max(row["round"] for rounds in results.values() for row in rounds)
    if study.target is not None:
        axes.axhline(100 * study.target, color="black", lw=0.8, ls="--")
    axes.set(xlabel="round", ylabel="accuracy on the test set (%)", xlim=(0, last))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    low, high = axes.get_ylim()
    # Where runs differ is near the end; how all of them begin is not worth the space.
    low = max(low, max(end[0] for end in ends) - _POINTS_SHOWN)
    axes.set_ylim(low, high)
    places = _apart([max(end[0], low) for end in ends], (high - low) * 0.055)
    for (end, name, colour), place in zip(ends, places, strict=True):
        axes.annotate(
            name,
            (last, max(end, low)),
            xytext=(last * 1.03, place),
            color=colour,
            va="center",
            fontsize=9,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.6, "relpos": (0, 0.5)},
        )


def _plot_rounds_to_target(axes: Axes, study: Study, results: Results) -> None:
    target = study.target or 0.0
    last = max(row["round"] for rounds in results.values() for row in rounds)
    for place, (rounds, colour) in enumerate(zip(results.values(), _colours(results), strict=True)):
        reached = rounds_to(target, rounds)
        axes.barh(place, reached or last, color=colour, alpha=1.0 if reached else 0.25)
        said = str(reached) if reached else f"not in {last}"
        axes.text((reached or last) + 0.1, place, said, va="center", fontsize=9)
    axes.set_yticks(range(len(results)), list(results))
    axes.invert_yaxis()
    axes.set(xlabel=f"rounds to {target:.0%} accuracy", xlim=(0, last * 1.2))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _grid(figure: Figure, study: Study, results: Results) -> None:
    """A cell per run, green where it is within two points of the first row without attack."""
    cells = {
        row: {column: 100 * value for column, value in values.items()}
        for row, values in final_accuracies(results).items()
    }
    rows, columns = list(cells), list(next(iter(cells.values())))
    clean = cells[rows[0]][columns[0]]
    axes = figure.subplots()
    shown = [[cells[row].get(column, float("nan")) - clean for column in columns] for row in rows]
    image = axes.imshow(shown, cmap="RdYlGn", vmin=-20, vmax=0, aspect="auto")
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            if column in cells[row]:
                within = cells[row][column] >= clean - _GRID_WITHIN
                axes.text(
                    x,
                    y,
                    f"{cells[row][column]:.1f}",
                    ha="center",
                    va="center",
                    fontweight="bold" if within else "normal",
                )
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_xlabel(
        f"accuracy on the test set (%); bold: within {_GRID_WITHIN:.0f} points of the {rows[0]} "
        "when nobody lies"
    )
    figure.colorbar(
        image,
        label="points of accuracy lost",
        ticks=range(-20, 1, 5),
        format=lambda v, _: f"{abs(v):.0f}",
    )


def _seeds(figure: Figure, study: Study, results: Results) -> None:
    axes = figure.subplots()
    cases = final_accuracies(results)
    for place, (by_seed, colour) in enumerate(zip(cases.values(), _COLOURS, strict=False)):
        values = [100 * value for value in by_seed.values()]
        mean = statistics.mean(values)
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        axes.plot(values, [place] * len(values), "o", color=colour, alpha=0.5)
        axes.errorbar(mean, place + 0.15, xerr=deviation, fmt="D", color=colour, capsize=4)
        axes.text(mean, place + 0.25, f"{mean:.2f} ± {deviation:.2f} %", color=colour, ha="center")
    axes.set_yticks(range(len(cases)), list(cases))
    axes.set(
        xlabel="accuracy on the test set (%): a dot per seed, mean and standard deviation",
        ylim=(-0.5, len(cases) - 0.3),
    )
    axes.grid(alpha=0.3, axis="x")


_LAYOUTS: Mapping[str, Callable[[Figure, Study, Results], None]] = {
    "curves": _curves,
    "bytes": _bytes,
    "grid": _grid,
    "seeds": _seeds,
}


def _colours(results: Mapping[str, Sequence[Round]]) -> list[Any]:
    """Return a colour per run: grey for the first, with which others are compared."""
    return [_BASELINE, *(_COLOURS[i % len(_COLOURS)] for i in range(len(results) - 1))]


def _apart(values: Sequence[float], distance: float) -> list[float]:
    """Return the values moved so that none is nearer to another than `distance`."""
    places = list(values)
    order = sorted(range(len(values)), key=lambda index: values[index])
    for lower, upper in itertools.pairwise(order):
        places[upper] = max(places[upper], places[lower] + distance)
    shift = sum(places) / len(places) - sum(values) / len(values)
    return [place - shift for place in places]
