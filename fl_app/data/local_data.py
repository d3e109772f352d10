"""One participant's examples, and where its own data lies."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

from fl_app.core.errors import DataError
from fl_app.data.tensor_dataset import BatchedExamples

Held = TypeVar("Held", bound=BatchedExamples, covariant=True)


@dataclass(frozen=True, eq=False)
class LocalData(Generic[Held]):
    """A participant's examples, each part made when it is first asked for.

    A message is about training or about evaluation, and mostly needs one of the two.

    Attributes:
        make_train: Gives the examples to train on.
        make_test: Gives those to evaluate on; there may be none.
        remarks: What was done to its own data that its owner should know, in sentences.
    """

    make_train: Callable[[], Held]
    make_test: Callable[[], Held]
    remarks: tuple[str, ...] = ()

    @cached_property
    def train(self) -> Held:
        """The examples to train on."""
        return self.make_train()

    @cached_property
    def test(self) -> Held:
        """The examples to evaluate on; may be empty."""
        return self.make_test()


def refuse_same(data: Path, test_data: Path) -> None:
    """Refuse to evaluate on what is trained on.

    Raises:
        DataError: If the two are one file or folder.
    """
    if test_data.resolve() == data.resolve():
        raise DataError(f"{data} is both the data and the test data; give different ones.")


@dataclass(frozen=True)
class OwnSource:
    """A participant's own data, as its node config names it.

    Attributes:
        data: A file or folder, absolute.
        test_data: The same for evaluation; `None` holds out a share of `data`.
        holdout_fraction: That share, in [0, 1).
        seed: Of the hold-out; the run's.
        participant: Name of the participant; also decides the hold-out.
        cache_folder: Where what is slow to read may be kept; `None` is nowhere.
    """

    data: Path
    test_data: Path | None
    holdout_fraction: float
    seed: int
    participant: str
    cache_folder: Path | None = None
