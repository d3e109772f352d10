"""Each character but a text's first is predicted once, from what stands before it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fl_app.core.errors import ConfigError
from fl_app.tasks.texts.sequences import PADDING, predicted_positions, sequences

texts_of = st.lists(st.lists(st.integers(0, 96), max_size=40), max_size=4)


def numbers(*texts: list[int]) -> list[torch.Tensor]:
    return [torch.tensor(text, dtype=torch.int16) for text in texts]


def test_a_text_is_cut_into_pieces_and_the_last_is_filled_up():
    examples = sequences(numbers([1, 2, 3, 4, 5, 6], [7, 8]), 3, "every")

    inputs, targets = examples.tensors
    assert inputs.tolist() == [[1, 2, 3], [4, 5, 0], [7, 0, 0]]
    assert targets.tolist() == [[2, 3, 4], [5, 6, PADDING], [8, PADDING, PADDING]]
    assert (inputs.dtype, targets.dtype) == (torch.int16, torch.int16)


def test_the_last_form_predicts_one_character_after_a_whole_context():
    inputs, targets = sequences(numbers([1, 2, 3, 4, 5], [7, 8]), 3, "last").tensors

    assert inputs.tolist() == [[1, 2, 3], [2, 3, 4]]
    assert targets.tolist() == [4, 5]


@given(texts=texts_of, context=st.integers(1, 9))
def test_every_character_but_the_first_is_a_target_once(texts, context):
    inputs, targets = sequences(numbers(*texts), context, "every").tensors

    real = targets != PADDING
    assert targets[real].tolist() == [number for text in texts for number in text[1:]]
    assert inputs[real].tolist() == [number for text in texts for number in text[:-1]]
    assert bool(real.any(1).all())  # no sequence is nothing but padding


@given(texts=texts_of, context=st.integers(1, 9))
def test_the_last_form_has_an_example_for_each_character_with_a_whole_context(texts, context):
    inputs, targets = sequences(numbers(*texts), context, "last").tensors

    assert targets.tolist() == [number for text in texts for number in text[context:]]
    assert inputs.shape == (len(targets), context)


@pytest.mark.parametrize("form", ["every", "last"])
def test_texts_that_are_too_short_give_no_examples(form):
    assert len(sequences(numbers([], [1]), 3, form)) == 0
    assert len(sequences([], 3, form)) == 0


def test_a_form_that_is_none_is_refused():
    with pytest.raises(ConfigError, match=r"targets = 'first' must be 'every' or 'last'"):
        predicted_positions("first")
