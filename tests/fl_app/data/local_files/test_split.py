"""What of a participant's own data is held out for evaluation."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_app.data.local_files.loader import load_own_data
from fl_app.data.local_files.schema import LabelledImages
from fl_app.data.local_files.split import hold_out
from fl_app.data.tensor_dataset import ImageExamples
from tests.fl_app.data.local_files.own_data import SIZE, make_spec, pixels, refusal, save_npz


def contents(examples: ImageExamples) -> set[bytes]:
    return {image.numpy().tobytes() for image in examples.images}


def test_held_out_examples_do_not_depend_on_the_names_or_order_of_files(folder: Path) -> None:
    before = load_own_data(make_spec(folder))
    for index, path in enumerate(sorted((folder / "cat").iterdir(), reverse=True)):
        path.rename(path.with_name(f"renamed-{index}.png"))
    after = load_own_data(make_spec(folder))
    assert contents(before.test) == contents(after.test)
    assert contents(before.train) == contents(after.train)


@pytest.mark.parametrize("changes", [{"seed": 43}, {"participant": "south"}])
def test_another_seed_or_participant_holds_out_others(
    folder: Path, changes: dict[str, Any]
) -> None:
    one, other = load_own_data(make_spec(folder)), load_own_data(make_spec(folder, **changes))
    assert contents(one.test) != contents(other.test)
    assert one.test.labels.tolist() == other.test.labels.tolist() == [0, 0, 1, 1]


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(lambda c: max(c) > 1),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**63),
)
def test_hold_out_divides_by_class(counts: list[int], fraction: float, seed: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    data = LabelledImages(pixels(len(labels), 1, 3, 3, seed=1), labels)
    train, test = hold_out(data.images, data.labels, fraction, seed, "north")
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(len(labels)))
    kept = np.bincount(labels[train], minlength=len(counts))
    present = np.array(counts) > 0
    assert np.array_equal(kept > 0, present)
    assert len(test) == min(max(1, round(fraction * len(labels))), sum(c - 1 for c in counts if c))
    held = np.array(counts) - kept
    capped = held == np.maximum(np.array(counts) - 1, 0)
    exact = fraction * np.array(counts)
    assert (np.abs(held - exact)[~capped] <= len(counts)).all()


def test_too_few_to_hold_out_is_refused_unless_none_is_wanted(tmp_path: Path) -> None:
    path = save_npz(tmp_path, images=pixels(2, SIZE, SIZE), labels=np.array([0, 1]))
    assert "too few examples (2" in refusal(make_spec(path))
    local = load_own_data(make_spec(path, holdout_fraction=0.0))
    assert (len(local.train), len(local.test)) == (2, 0)
