import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from fl_app.core.metrics import ACCURACY, LOSS, LOSS_METRIC
from fl_app.plots.run_comparison import plot_communication, plot_comparison, plot_participants
from fl_app.results.records import ParticipantReport, RoundReport, Score
from tests.fl_app.results.test_reader import rounds_of

METRICS = {"accuracy": ACCURACY, LOSS: LOSS_METRIC}


@pytest.fixture
def figures(monkeypatch):
    saved: list[Figure] = []
    save = Figure.savefig

    def remember(self, *args, **kwargs):
        saved.append(self)
        save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", remember)
    return saved


def is_png(path: Path) -> bool:
    with Image.open(path) as image:
        return image.format == "PNG" and min(image.size) > 300


def test_a_task_that_measures_its_loss_alone_has_one_panel(tmp_path, figures):
    reports = [RoundReport(0, central=Score(2.0)), RoundReport(1, central=Score(1.0))]

    plot_communication(reports, tmp_path / "c.png", {LOSS: LOSS_METRIC}, "Communication")

    assert is_png(tmp_path / "c.png")
    assert [axes.get_title() for axes in figures[0].axes] == ["loss"]


def asked(number: int, values: Iterable[float], failed: int = 0) -> RoundReport:
    people = [
        ParticipantReport(str(i), train_metrics={"accuracy": v}, update_norm=10 * v)
        for i, v in enumerate(values)
    ]
    lost = [ParticipantReport(f"lost {i}", failure="lost") for i in range(failed)]
    return RoundReport(number, participants=(*people, *lost))


def named(axes: Axes) -> dict[object, Line2D]:
    return {line.get_label(): line for line in axes.get_lines()}


def points_of(line: Line2D) -> list[list[float]]:
    points: list[list[float]] = np.asarray(line.get_xydata()).tolist()
    return points


def test_communication_is_cumulative_and_in_megabytes(tmp_path, figures):
    plot_communication(list(rounds_of(0.5, 0.7)), tmp_path / "a.png", METRICS, "title")
    assert is_png(tmp_path / "a.png")
    accuracy, loss = figures[0].axes
    central, federated = accuracy.get_lines()
    assert central.get_xydata().tolist() == [[0, 0.1], [4, 0.5], [8, 0.7]]
    assert federated.get_xydata() == pytest.approx(np.array([[4, 0.49], [8, 0.69]]))
    assert loss.get_lines()[0].get_ydata() == pytest.approx([2.3, 0.5, 0.3])
    assert [t.get_text() for t in accuracy.texts] == ["the initial model is off the scale"]
    assert accuracy.get_ylim()[0] > 0.1


def test_participants_are_median_band_and_lines(tmp_path, figures):
    reports = [RoundReport(0), asked(1, [0.2, 0.4, 0.9], failed=2), asked(2, [0.3, 0.5, 0.8])]
    plot_participants(reports, tmp_path / "a.png", METRICS, "title")
    assert is_png(tmp_path / "a.png")
    accuracy, norm = figures[0].axes
    assert points_of(named(accuracy)["median"]) == [[1, 0.4], [2, 0.5]]
    assert named(norm)["median"].get_ydata() == pytest.approx([4, 5])
    band = accuracy.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (0.2, 0.9)
    people = [line for line in accuracy.get_lines() if line.get_marker() == "."]
    assert [[y for _, y in points_of(line)] for line in people] == [
        [0.2, 0.3],
        [0.4, 0.5],
        [0.9, 0.8],
    ]
    for axes in (accuracy, norm):
        assert [x for x, _ in points_of(named(axes)["failed"])] == [1]
        assert [text.get_text() for text in axes.texts] == ["2"]


def test_many_participants_have_no_lines_of_their_own(tmp_path, figures):
    plot_participants(
        [asked(n, np.linspace(0, 1, 13)) for n in (1, 2)], tmp_path / "a.png", METRICS, "t"
    )
    assert [line.get_label() for line in figures[0].axes[0].get_lines()] == ["median"]


def test_a_participant_that_is_not_finite_is_left_out(tmp_path, figures):
    plot_participants([asked(1, [0.5, math.nan, math.inf])], tmp_path / "a.png", METRICS, "title")
    assert points_of(named(figures[0].axes[0])["median"]) == [[1, 0.5]]


def test_a_comparison_has_a_line_per_run_in_each_panel(tmp_path, figures):
    runs = {"one": list(rounds_of(0.5, 0.7)), "two": list(rounds_of(0.6)), "none": []}
    plot_comparison(runs, tmp_path / "a.png", "title", METRICS)
    assert is_png(tmp_path / "a.png")
    by_round, by_megabyte, loss = figures[0].axes
    assert [line.get_xdata().tolist() for line in by_round.get_lines()] == [[0, 1, 2], [0, 1]]
    assert [line.get_xdata().tolist() for line in by_megabyte.get_lines()] == [[0, 4, 8], [0, 4]]
    assert loss.get_lines()[1].get_ydata() == pytest.approx([2.3, 0.4])
    names = [text.get_text() for text in figures[0].legends[0].get_texts()]
    assert names == ["one (last 70.00%)", "two (last 60.00%)"]


@pytest.mark.parametrize(
    "reports",
    [
        [],
        [RoundReport(0, central=Score(2.3, {"accuracy": 0.1}))],
        [RoundReport(n, central=Score(math.nan)) for n in range(3)],
        [asked(n, [], failed=3) for n in range(1, 4)],
        [asked(n, [0.1, 0.2], failed=1) for n in range(1, 200)],
    ],
)
def test_any_history_can_be_drawn(tmp_path, figures, reports):
    plot_communication(reports, tmp_path / "a.png", METRICS, "title")
    plot_participants(reports, tmp_path / "b.png", METRICS, "title")
    plot_comparison({"run": reports}, tmp_path / "c.png", "title", METRICS)
    assert all(is_png(tmp_path / f"{name}.png") for name in "abc")
    assert all(len(axes.texts) <= 30 for axes in figures[1].axes)
