"""Shakespeare by speaking role: the next character of what one says."""

import hashlib
from pathlib import Path

import torch

from fl_app.core.errors import ConfigError
from fl_app.data.tensor_dataset import TensorExamples
from fl_app.tasks.task import TaskData
from fl_app.tasks.texts.continuation import Continuation
from fl_app.tasks.texts.next_character import NextCharacter, refuse_below
from fl_app.tasks.texts.plays import Role, all_roles

_TRAINING_SHARE = 0.8
_CHOICES = ("largest", "drawn")


class Shakespeare(NextCharacter):
    """The next character of what a role of a play by Shakespeare says; by role, or all together.

    Source: McMahan et al., AISTATS 2017, arXiv:1602.05629; Caldas et al., LEAF, arXiv:1812.01097.
    Differs in the edition, in the alphabet, and in that by default the next character is predicted
    at every position of a sequence: a pass over 80 characters then has 80 targets and not one.
    """

    def __init__(
        self,
        roles: int = 10,
        choose: str = "largest",
        min_speeches: int = 2,
        max_characters: int = 20000,
        targets: str = "every",
        cell: str = "lstm",
        embedding: int = 8,
        hidden: int = 256,
        context: int = 80,
        length: int = 200,
        temperature: float = 0.0,
        sampling_seed: int = 0,
    ) -> None:
        """Set up.

        Args:
            roles: How many roles there are; 0 takes all.
            choose: `largest`: those that say most; `drawn`: any, by a hash of their names.
            min_speeches: Roles with fewer speeches are left out.
            max_characters: What of a role's text is used, from its beginning; 0 is all.
            targets: `every`: the next character at every position; `last`: after the last alone.
            cell: `lstm` or `gru`.
            embedding: Numbers that a character is given to the network as.
            hidden: Units in each of its two layers.
            context: Characters in a sequence.
            length: Of a prediction: characters to add to a text.
            temperature: Likewise: 0 takes the likeliest character, more draws one.
            sampling_seed: Likewise, of what is drawn.
        """
        continuation = Continuation(length, temperature, sampling_seed)
        super().__init__("ascii", cell, embedding, hidden, context, targets, continuation)
        refuse_below(0, roles=roles, max_characters=max_characters)
        refuse_below(1, min_speeches=min_speeches)
        if choose not in _CHOICES:
            raise ConfigError(
                f"run config: choose = {choose!r} must be one of {', '.join(_CHOICES)}"
            )
        self._roles, self._choose = roles, choose
        self._min_speeches, self._most = min_speeches, max_characters

    def load_data(self, data_dir: Path) -> TaskData:
        """Divide each role's text, the first 80 % for training, and make sequences of both."""
        train, test, owners, test_owners = [], [], [], []
        for role in self._chosen():
            text = self._alphabet.encode(role.text)
            text = text[: self._most or len(text)]
            first, rest = self._divided(len(text))
            train.append(self.examples([text[:first]]))
            test.append(self.examples([text[first : first + rest]]))
            owners += [role.name] * len(train[-1])
            test_owners += [role.name] * len(test[-1])
        return TaskData(_joined(train), _joined(test), owners, test_owners)

    def _chosen(self) -> list[Role]:
        """Return the roles that take part, in the order in which they are chosen.

        Raises:
            ConfigError: If there are too few.
        """
        known = [
            role
            for role in all_roles()
            if role.speeches >= self._min_speeches
            and self._divided(self._used(role))[0] >= self.shortest
        ]
        key = _drawn if self._choose == "drawn" else _largest
        found = sorted(known, key=key)[: self._roles or len(known)]
        if not found or len(found) < self._roles:
            raise ConfigError(
                f"run config: roles = {self._roles}, but {len(known)} have "
                f"{self._min_speeches} speeches or more and enough text; lower one of the two"
            )
        return found

    def _used(self, role: Role) -> int:
        return min(len(role.text), self._most or len(role.text))

    @staticmethod
    def _divided(characters: int) -> tuple[int, int]:
        """Return how many of a text's characters are for training, and for evaluation."""
        first = int(_TRAINING_SHARE * characters)
        return first, characters - first


def _joined(parts: list[TensorExamples]) -> TensorExamples:
    """Put sets of examples into one, in order."""
    columns = zip(*(part.tensors for part in parts), strict=True)
    return TensorExamples(*(torch.cat(column) for column in columns))


def _largest(role: Role) -> tuple[int, str]:
    return -len(role.text), role.name


def _drawn(role: Role) -> str:
    return hashlib.sha256(role.name.encode()).hexdigest()
