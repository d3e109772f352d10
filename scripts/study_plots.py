"""Pictures of studies."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def plot_curves(title: str, results: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Draw accuracy by round, and by megabytes sent, a line per run."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    by_round, by_bytes = figure.subplots(1, 2, sharey=True)
    for name, rounds in results.items():
        accuracy = [100 * row["accuracy"] for row in rounds]
        sent = [sum(row["bytes_up"] for row in rounds[: i + 1]) / 1e6 for i in range(len(rounds))]
        by_round.plot([row["round"] for row in rounds], accuracy, marker=".", label=name)
        by_bytes.plot(sent[1:], accuracy[1:], marker=".")
    by_round.set(xlabel="round", ylabel="accuracy on the test set (%)")
    by_bytes.set(xlabel="megabytes from participants, all rounds so far", xscale="log")
    for axes in (by_round, by_bytes):
        axes.grid(alpha=0.3)
    by_round.legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
