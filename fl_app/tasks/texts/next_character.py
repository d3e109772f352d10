"""What all tasks of texts share: the next character is predicted."""

import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from numpy.typing import NDArray
from torch import Tensor, nn

from fl_app.core.errors import ConfigError
from fl_app.core.metrics import ACCURACY, Metric
from fl_app.data.tensor_dataset import Batch, Examples, TensorExamples
from fl_app.tasks.tally import Measures
from fl_app.tasks.task import Task
from fl_app.tasks.texts.alphabet import alphabet, saved_alphabet
from fl_app.tasks.texts.character_model import CELLS, CharacterModel
from fl_app.tasks.texts.continuation import Continuation, read_beginning
from fl_app.tasks.texts.sequences import PADDING, predicted_positions, sequences

_SEQUENCES_TO_TRY = 4
_LARGEST_EXPONENT = 700.0


def _perplexity(total: NDArray[np.float64], weight: float) -> float:
    return math.exp(min(float(total) / weight, _LARGEST_EXPONENT))


class NextCharacter(Task):
    """The next character of a text, of an agreed alphabet.

    Loss and metrics count real characters: each once, and what fills up a sequence never. The
    perplexity is e to the power of the mean loss.
    """

    metrics = MappingProxyType(
        {"accuracy": ACCURACY, "perplexity": Metric("lower", finish=_perplexity)}
    )
    evaluation_batch_size = 64  # as fast as 500 sequences, in an eighth of the memory

    def __init__(
        self,
        alphabet_name: str,
        cell: str,
        embedding: int,
        hidden: int,
        context: int,
        targets: str,
        continuation: Continuation,
    ) -> None:
        """Set up; see `CharacterModel`, `sequences` and `Continuation`.

        Raises:
            ConfigError: If an option has a value that it cannot have.
        """
        self._alphabet = alphabet(alphabet_name)
        if cell not in CELLS:
            raise ConfigError(f"run config: cell = {cell!r} must be one of {', '.join(CELLS)}")
        at_least_one = {"embedding": embedding, "hidden": hidden, "context": context}
        refuse_below(1, **at_least_one)
        self._cell, self._embedding, self._hidden = cell, embedding, hidden
        self._context = context
        self._predicted = predicted_positions(targets)
        self._continuation = continuation

    def build_model(self) -> nn.Module:
        """See `Task.build_model`."""
        return CharacterModel(self._alphabet.size, self._cell, self._embedding, self._hidden)

    def examples(self, texts: Sequence[Tensor]) -> TensorExamples:
        """Make examples of encoded texts; see `sequences`."""
        return sequences(texts, self._context, self._predicted)

    @property
    def shortest(self) -> int:
        """The characters that a text needs to give an example."""
        return 2 if self._predicted == "every" else self._context + 1

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return scores [N, T, V], or [N, V] where only the last character is predicted."""
        scores: Tensor = model(batch[0], last_only=batch[-1].ndim == 1)
        return scores

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of the real characters, in nats."""
        return _cross_entropy(outputs, batch[-1], "mean")

    def measure(self, outputs: Tensor, batch: Batch) -> Measures:
        """Count the real characters that are predicted right."""
        targets, weight = batch[-1], self.weight(batch)
        return {
            "accuracy": ((outputs.argmax(-1) == targets).sum(), weight),
            "perplexity": (_cross_entropy(outputs, targets, "sum"), weight),
        }

    def weight(self, batch: Batch) -> Tensor:
        """Count the real characters that are predicted."""
        targets: Tensor = batch[-1]
        return (targets != PADDING).sum()

    def partition_labels(self, examples: Examples) -> NDArray[np.int64] | None:
        """Return `None`: a next character is no class that participants could differ by."""
        return None

    def sample_batch(self) -> Batch:
        """Make sequences of random characters."""
        generator = torch.Generator().manual_seed(0)
        length = (_SEQUENCES_TO_TRY, self._context)
        drawn = torch.randint(self._alphabet.size, length, generator=generator)
        return drawn, drawn if self._predicted == "every" else drawn[:, -1]

    def metadata(self) -> Mapping[str, str]:
        """Say which alphabet the model knows."""
        return self._alphabet.metadata()

    def restore(self, metadata: Mapping[str, str]) -> None:
        """Take the alphabet of a saved model."""
        self._alphabet = saved_alphabet(metadata)

    def predict(self, model: nn.Module, source: str) -> Iterator[str]:
        """Continue a text, or the one in a file; see `Continuation`."""
        beginning = read_beginning(source)
        yield beginning + self._continuation.of(model, self._alphabet, beginning)


def refuse_below(least: int, **options: float) -> None:
    """Refuse options that are too small, by name.

    Raises:
        ConfigError: If one is less than `least`.
    """
    for name, value in options.items():
        if value < least:
            raise ConfigError(f"run config: {name} = {value} must be {least} or more")


def _cross_entropy(scores: Tensor, targets: Tensor, reduction: str) -> Tensor:
    # In float32 at least, so that a sum over many characters is not rounded to eight bits.
    rows = scores.flatten(0, -2).to(torch.promote_types(scores.dtype, torch.float32))
    wanted = targets.flatten().long()
    return F.cross_entropy(rows, wanted, ignore_index=PADDING, reduction=reduction)
