from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from fl_app.core.metrics import ACCURACY, LOSS_METRIC
from fl_app.plots.training_curves import Curves, plot_history, plot_label_distribution

NAMES = [str(i) for i in range(10)]


def curves(central, central_loss, federated, federated_loss):
    return [
        Curves("accuracy", ACCURACY, central, federated),
        Curves("loss", LOSS_METRIC, central_loss, federated_loss),
    ]


@pytest.fixture
def figures(monkeypatch):
    """The figures that were saved, for a look at what was drawn."""
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


def test_few_participants_are_stacked_bars(tmp_path, figures):
    counts = np.arange(100).reshape(10, 10)
    plot_label_distribution(counts, NAMES, tmp_path / "a.png", "title")
    assert is_png(tmp_path / "a.png")
    (axes,) = figures[0].axes
    bars = axes.patches
    assert sum(bar.get_width() for bar in bars) == counts.sum()
    ends = [bar.get_x() + bar.get_width() for bar in bars[-10:]]  # the last class tops each stack
    assert ends == counts.sum(axis=1).tolist()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == NAMES
    assert axes.yaxis_inverted()


def test_many_participants_are_a_heat_map(tmp_path, figures):
    counts = np.arange(410).reshape(41, 10)
    plot_label_distribution(counts, NAMES, tmp_path / "a.png", "title")
    assert is_png(tmp_path / "a.png")
    assert not figures[0].axes[0].patches
    assert np.array_equal(figures[0].axes[0].images[0].get_array(), counts)


@pytest.mark.parametrize("shape", [(3, 9), (10,), (0, 10)])
def test_counts_that_do_not_fit_are_refused(tmp_path, shape):
    with pytest.raises(ValueError, match="do not fit 10 class names"):
        plot_label_distribution(np.zeros(shape, np.int64), NAMES, tmp_path / "a.png", "title")


def test_history_leaves_out_what_was_not_measured(tmp_path, figures):
    plot_history(
        [0, 1, 2, 3],
        curves(
            [0.1, 0.9, 0.95, 0.96],
            [2.3, 0.3, 0.2, 0.1],
            [None, 0.8, None, 0.9],
            [None, 0.4, None, 0.3],
        ),
        tmp_path / "a.png",
        "title",
    )
    assert is_png(tmp_path / "a.png")
    accuracy, loss = figures[0].axes
    central, federated = accuracy.get_lines()
    assert central.get_xydata().tolist() == [[0, 0.1], [1, 0.9], [2, 0.95], [3, 0.96]]
    assert federated.get_xydata().tolist() == [[1, 0.8], [3, 0.9]]
    assert loss.get_lines()[1].get_xydata().tolist() == [[1, 0.4], [3, 0.3]]
    assert accuracy.get_title() == "accuracy (last: central 96.00%, federated 90.00%)"
    assert [text.get_text() for text in accuracy.texts] == ["round 0: 10.00%, off the scale"]
    assert all(tick == int(tick) for tick in accuracy.get_xticks())


@pytest.mark.parametrize("rounds", [[], [0], [1], list(range(200))])
def test_history_of_any_length(tmp_path, rounds):
    nothing = [None] * len(rounds)
    values = [0.5] * len(rounds)
    drawn = curves(values, nothing, nothing, nothing)
    plot_history(rounds, drawn, tmp_path / "a.png", "t")
    assert is_png(tmp_path / "a.png")


def test_a_diverged_run_can_be_drawn(tmp_path):
    rounds, nothing = [0, 1, 2], [None] * 3
    losses = [2.3, float("inf"), float("nan")]
    plot_history(rounds, curves([0.1] * 3, losses, nothing, nothing), tmp_path / "a.png", "t")
    assert is_png(tmp_path / "a.png")


def test_history_of_unequal_lengths_is_refused(tmp_path):
    with pytest.raises(ValueError, match="1 values do not fit 2 rounds"):
        plot_history([1, 2], curves([0.1], [1, 1], [0, 0], [1, 1]), tmp_path / "a.png", "title")


@pytest.mark.parametrize(("count", "shown"), [(1, (1, 1)), (2, (1, 2)), (3, (1, 3)), (5, (2, 3))])
def test_many_metrics_take_several_rows(tmp_path, figures, count, shown):
    metric = Curves("rmse", LOSS_METRIC, [0.5, 0.4], [None, 0.3])

    plot_history([0, 1], [metric] * count, tmp_path / "a.png", "title")

    panels = [axes for axes in figures[0].axes if axes.get_visible()]
    assert len(panels) == count
    assert figures[0].axes[0].get_gridspec().get_geometry() == shown
