"""The picture of memory by round."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_COLOURS = ("#0072b2", "#009e73", "#d55e00", "#777777")
_INK = "#333333"


class Measured(Protocol):
    """A run to be drawn; see `scripts.benchmarks.system.scale.ScaleRun`."""

    participants: int
    rounds: list[int]

    @property
    def memory(self) -> Mapping[str, Sequence[float]]:
        """MB by role, after each round."""
        ...


def plot_scale(runs: Sequence[Measured], path: Path) -> None:
    """Draw the memory of each part by round, a panel per run, on one scale.

    Raises:
        ValueError: If there are no runs.
    """
    if not runs:
        raise ValueError("there are no runs to draw")
    figure = Figure(figsize=(2.0 + 5.0 * len(runs), 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(runs), sharey=True, squeeze=False)[0]
    for axes, run in zip(panels, runs, strict=True):
        for colour, (role, megabytes) in zip(_COLOURS, run.memory.items(), strict=True):
            axes.plot(run.rounds, megabytes, color=colour, lw=1.4)
            axes.annotate(
                role,
                (run.rounds[-1], megabytes[-1]),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color=colour,
            )
        axes.set_title(f"{run.participants:,} participants", color=_INK, fontsize=11)
        axes.set_xlabel("round", color=_INK)
        axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= max(run.rounds)])
        axes.set_xlim(0, max(run.rounds) * 1.35)
        axes.grid(axis="y", color="#dddddd", linewidth=0.7)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    most = max(max(megabytes) for run in runs for megabytes in run.memory.values())
    panels[0].set_ylim(0, 1.05 * most)  # of all panels, which share it
    panels[0].set_ylabel("memory, MB", color=_INK)
    figure.suptitle("Ten of many sampled per round: memory by round", color=_INK, fontsize=13)
    figure.savefig(path, dpi=150)
