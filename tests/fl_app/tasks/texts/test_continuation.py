"""A trained model continues a text or a file, and says what it cannot continue."""

from typing import Any

import pytest
import torch
from torch import nn

from fl_app.core.errors import DataError, UserError
from fl_app.tasks.registry import initial_model
from fl_app.tasks.texts.character_model import CharacterModel
from fl_app.tasks.texts.own_text import OwnText


def continued(source: str, **options: Any) -> str:
    task = OwnText(**{"hidden": 8, "length": 12, **options})
    (line,) = task.predict(initial_model(task, seed=1).eval(), source)
    return line


def test_a_text_is_continued_by_as_many_characters_as_asked_for():
    line = continued("To be, or not ")

    assert line.startswith("To be, or not ")
    assert len(line) == 14 + 12
    assert "\ufffd" not in line


def test_the_text_of_a_file_is_continued(tmp_path):
    (tmp_path / "a.txt").write_text("Once upon", encoding="utf-8")

    assert continued(str(tmp_path / "a.txt")) == continued("Once upon")


def test_the_likeliest_characters_are_always_the_same():
    torch.manual_seed(1)
    once = continued("abc")
    torch.manual_seed(2)

    assert continued("abc") == once


def test_sampling_is_decided_by_its_seed_and_not_by_the_global_one():
    torch.manual_seed(1)
    once = continued("abc", temperature=1.0, sampling_seed=5)
    before = torch.get_rng_state()

    assert continued("abc", temperature=1.0, sampling_seed=5) == once
    assert continued("abc", temperature=1.0, sampling_seed=6) != once
    assert torch.equal(torch.get_rng_state(), before)


def test_the_likeliest_character_is_taken_and_other_never():
    task = OwnText(hidden=8, length=3)
    model = task.build_model()
    assert isinstance(model, CharacterModel)
    with torch.no_grad():
        model.output.weight.zero_()
        model.output.bias.zero_()
        model.output.bias[0] = 9.0  # other
        model.output.bias[1 + 1 + ord("q") - ord(" ")] = 5.0

    assert list(task.predict(model.eval(), "abc")) == ["abcqqq"]


def test_bytes_that_are_no_text_are_shown_as_such():
    line = continued("né", alphabet="bytes", temperature=5.0)

    assert line.startswith("né")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"caf\xe9", "byte 3 does not fit"), (b"", "empty"), (b"x" * (1 << 21), "too many")],
)
def test_a_file_that_cannot_be_continued_is_named(tmp_path, content, message):
    path = tmp_path / "a.txt"
    path.write_bytes(content)

    with pytest.raises(DataError, match=rf"a\.txt.*{message}"):
        continued(str(path))


@pytest.mark.parametrize("source", ["a" * 5000, "line\nline", "nul\0", "~", "."])
def test_what_is_no_path_is_a_text(source):
    assert continued(source).startswith(source)


def test_nothing_cannot_be_continued():
    with pytest.raises(DataError, match="nothing to continue"):
        continued("")


def test_a_model_of_something_else_is_refused():
    with pytest.raises(UserError, match="a Linear is no model of texts"):
        list(OwnText().predict(nn.Linear(2, 2), "abc"))
