"""The pictures of a run, drawn when it ends."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from fl_app.core.metrics import Metric
from fl_app.core.run_config import RunConfig
from fl_app.results.records import RoundReport
from fl_app.results.run_directory import RunDirectory
from fl_app.tasks.server_data import ServerData
from fl_app.tasks.task import all_metrics


def write_pictures(directory: RunDirectory, config: RunConfig, data: ServerData) -> None:
    """Draw the history, the communication, the participants and who holds what."""
    # They take a second to import: not before the first round.
    from fl_app.plots.run_comparison import plot_communication, plot_participants
    from fl_app.plots.training_curves import plot_label_distribution

    what = data.name if data.name == config.task else f"{config.model} on {data.name}"
    title = f"{what}, {config.num_participants} participants"
    reports, metrics = directory.reports, all_metrics(data.task)
    for name, plot in (
        ("history.png", draw_history),
        ("communication.png", plot_communication),
        ("participants.png", plot_participants),
    ):
        directory.write_plot(name, partial(plot, reports, metrics=metrics, title=title))
    if data.partition is None:
        return
    held, title = data.partition, f"{data.name}, {config.partitioner}: examples by participant"
    directory.write_plot(
        "partition.png",
        lambda path: plot_label_distribution(
            held.counts, held.label_names, path, title, held.names
        ),
    )


def draw_history(
    reports: Sequence[RoundReport], path: Path, metrics: Mapping[str, Metric], title: str
) -> None:
    """Draw the first metric of the task and the loss by round into a file."""
    from fl_app.plots.training_curves import Curves, plot_history  # a second to import

    central = [report.central for report in reports]
    federated = [report.federated for report in reports]
    curves = [
        Curves(
            name,
            metric,
            [score.value(name) if score else None for score in central],
            [score.value(name) if score else None for score in federated],
        )
        for name, metric in metrics.items()
    ]
    plot_history([report.server_round for report in reports], curves, path, title)
