"""What participants tell of their examples before round 1, so that all prepare them alike.

Whoever has seen no other participant's data cannot know the mean of a column over all of them, or
which categories it has. The server asks for sums over the training examples, adds them up, and the
task makes of them a text, the agreement, which goes to everybody with each later message.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fl_app.core.errors import ConfigError
from fl_app.data.local_data import OwnSource

_MOST_VALUES = 1 << 20
_MOST_LETTERS = 1 << 24
_LARGEST = 1e200
"""Of a sum; those of any number of participants can be added, which those near 1e308 cannot."""


@dataclass(frozen=True)
class Question:
    """What a task's participants have yet to agree on.

    Attributes:
        what: In words, with the options of the task that would say it instead.
        num_sums: How many sums it takes, K.
        not_by_masks: What of it cannot be worked out under masks, where sums of bounded numbers are
            all that there is, and what to do; "" is nothing.
        most_names: Names that a participant may tell of a topic; who tells more is not believed.
    """

    what: str
    num_sums: int
    not_by_masks: str = ""
    most_names: int = 10_000


@dataclass(frozen=True, eq=False)
class Statistics:
    """What one participant says in answer to a question.

    Attributes:
        num_examples: Training examples N, positive.
        sums: float64 [K], sums over them. Where `Question.not_by_masks` is "", every one is within
            N of 0.
        words: Names by topic, such as the categories by column.
    """

    num_examples: int
    sums: NDArray[np.float64]
    words: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Merged:
    """What all participants say together.

    Attributes:
        num_participants: How many there are.
        num_examples: The sum of their numbers of examples.
        sums: float64 [K].
        words: By topic, how many participants say each name.
    """

    num_participants: int
    num_examples: int
    sums: NDArray[np.float64]
    words: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def merge_statistics(many: Sequence[Statistics]) -> Merged:
    """Add up what participants say; exact sums, so their order makes no difference.

    Args:
        many: One or more, with equally many sums.
    """
    rows = zip(*(one.sums.tolist() for one in many), strict=True)
    words: dict[str, Counter[str]] = {}
    for one in many:
        for topic, names in one.words.items():
            words.setdefault(topic, Counter()).update(set(names))
    return Merged(
        len(many),
        sum(one.num_examples for one in many),
        np.array([math.fsum(row) for row in rows], np.float64),
        {topic: dict(sorted(words[topic].items())) for topic in sorted(words)},
    )


def encode_words(words: Mapping[str, Sequence[str]]) -> str:
    """Write the words of `Statistics` as a text."""
    return json.dumps({topic: sorted(names) for topic, names in words.items()})


def read_statistics(
    num_examples: int, arrays: Sequence[NDArray[np.generic]], words: object, question: Question
) -> Statistics:
    """Check what a participant sent.

    Args:
        num_examples: What it says it has.
        arrays: One array, [K].
        words: What `encode_words` wrote.
        question: What it was asked; says K.

    Raises:
        ValueError: If it is something else; says what, without its values.
    """
    num_sums = question.num_sums
    if num_examples <= 0:
        raise ValueError("its statistics are of no examples")
    if len(arrays) != 1 or arrays[0].shape != (num_sums,) or num_sums > _MOST_VALUES:
        shapes = ", ".join(str(list(array.shape)) for array in arrays)
        raise ValueError(f"its statistics have the shape {shapes or 'of nothing'}, not {num_sums}")
    if arrays[0].dtype.kind not in "fiu":
        raise ValueError(f"its statistics are {arrays[0].dtype}, no real numbers")
    sums = arrays[0].astype(np.float64)
    if not (np.abs(sums) <= _LARGEST).all():
        raise ValueError("its statistics are not finite, or too large to be sums of examples")
    if not isinstance(words, str) or len(words) > _MOST_LETTERS:
        raise ValueError("the words of its statistics are no text, or too many")
    try:
        content = json.loads(words)
    except RecursionError as error:
        raise ValueError("the words of its statistics are nested too deeply") from error
    if not isinstance(content, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names)
        for names in content.values()
    ):
        raise ValueError("the words of its statistics are not lists of names by topic")
    if (most := max(map(len, content.values()), default=0)) > question.most_names:
        raise ValueError(f"it tells {most} names of a topic, and {question.most_names} are allowed")
    return Statistics(num_examples, sums, content)


class AgreesBeforehand:
    """What a task asks of its participants before round 1; by default nothing."""

    def to_agree(self) -> Question | None:
        """Say what participants have yet to agree on before there can be a model; `None`: nothing.

        While there is something, the server asks everybody for `local_statistics`, lets `agree`
        make a text of their sums, and gives that to `take_agreement`. A later question may build
        on the answer to an earlier one: deviations on means.
        """
        return None

    def local_statistics(self, source: OwnSource) -> Statistics:
        """Answer `to_agree` from a participant's own training examples.

        Raises:
            UserError: As `load_own_data` does.
        """
        raise ConfigError(f"the task {type(self).__name__} asks for no statistics")

    def agree(self, merged: Merged) -> str:
        """Return what is agreed on, earlier answers included, of the sums over all participants.

        Raises:
            UserError: If nothing can be made of them.
        """
        raise ConfigError(f"the task {type(self).__name__} asks for no statistics")

    def take_agreement(self, text: str) -> None:
        """Take in what `agree` returned, here or elsewhere; before the model is built.

        Raises:
            UserError: If it is no such text.
        """
