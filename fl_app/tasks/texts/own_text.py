"""Own texts: the next character of what lies in each participant's folder."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from torch import Tensor

from fl_app.core.errors import ConfigError, DataError
from fl_app.data.local_data import LocalData, OwnSource, refuse_same
from fl_app.data.tensor_dataset import TensorExamples
from fl_app.tasks.task import TaskData
from fl_app.tasks.texts.continuation import Continuation
from fl_app.tasks.texts.next_character import NextCharacter
from fl_app.tasks.texts.text_files import Texts, read_texts

_WORTH_A_REMARK = 0.01
"""The share of characters beyond the alphabet from which a file is named in the remarks."""


class OwnText(NextCharacter):
    """The next character of each participant's own texts, for `dataset = "own"`.

    A participant's `data` is a folder with .txt and .md files, or one text file, in UTF-8.
    """

    def __init__(
        self,
        alphabet: str = "ascii",
        targets: str = "every",
        cell: str = "lstm",
        embedding: int = 8,
        hidden: int = 256,
        context: int = 80,
        max_megabytes: float = 64.0,
        length: int = 200,
        temperature: float = 0.0,
        sampling_seed: int = 0,
    ) -> None:
        """Set up.

        Args:
            alphabet: `ascii`; `latin`, for Western Europe; or `bytes`, for any script.
            targets: `every`: the next character at every position; `last`: after the last alone.
            cell: `lstm` or `gru`.
            embedding: Numbers that a character is given to the network as.
            hidden: Units in each of its two layers.
            context: Characters in a sequence.
            max_megabytes: Of a participant's texts, in millions of bytes.
            length: Of a prediction: characters to add to a text.
            temperature: Likewise: 0 takes the likeliest character, more draws one.
            sampling_seed: Likewise, of what is drawn.
        """
        continuation = Continuation(length, temperature, sampling_seed)
        super().__init__(alphabet, cell, embedding, hidden, context, targets, continuation)
        if not max_megabytes > 0:
            raise ConfigError(f"run config: max_megabytes = {max_megabytes} must be above 0")
        self._most_bytes = int(max_megabytes * 1e6)

    def load_data(self, data_dir: Path) -> TaskData:
        """Refuse: there is no common data.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            "run config: task = 'text' is about the participants' own texts: set dataset = 'own', "
            "and name a folder in the node config of each (data)"
        )

    def load_own_data(self, source: OwnSource) -> LocalData[TensorExamples]:
        """Read text files, and hold out the last share of each, or read other files for that.

        Raises:
            DataError: As `read_texts` does, or if the texts are too short.
        """
        if not 0 <= source.holdout_fraction < 1:
            raise DataError(f"The share to hold out is {source.holdout_fraction}, not in [0, 1).")
        own, remarks = self._read(source.data)
        if source.test_data is None:
            firsts = [int(round(len(text) * (1 - source.holdout_fraction), 6)) for text in own]
            train = [text[:first] for text, first in zip(own, firsts, strict=True)]
            test = [text[first:] for text, first in zip(own, firsts, strict=True)]
        else:
            refuse_same(source.data, source.test_data)
            train, (test, more) = own, self._read(source.test_data)
            remarks = [*remarks, *more]
        if not self._long_enough(train):
            raise DataError(
                f"{source.data} has too little text to train on: a file needs {self.shortest} "
                "characters beside those held out."
            )
        if not self._long_enough(test):
            where = source.test_data or source.data
            remarks = [*remarks, f"{where} has too little text to evaluate on: no test examples"]
        for remark in remarks:
            logging.getLogger("flwr").info("%s", remark)
        return LocalData(partial(self.examples, train), partial(self.examples, test), (*remarks,))

    def _read(self, path: Path) -> tuple[list[Tensor], list[str]]:
        found = read_texts(path, self._most_bytes)
        encoded = [self._alphabet.encode(text) for _, text in found.texts]
        return encoded, [*found.remarks, *self._unknown(found, encoded)]

    def _unknown(self, found: Texts, encoded: Sequence[Tensor]) -> list[str]:
        """Name the files that the alphabet does not suit."""
        remarks = []
        for (file, _), numbers in zip(found.texts, encoded, strict=True):
            share = self._alphabet.unknown(numbers) / max(1, len(numbers))
            if share >= _WORTH_A_REMARK:
                remarks.append(
                    f"{file}: {share:.0%} of its characters are not in the alphabet "
                    f"{self._alphabet.name} and are read as one other character; "
                    "all participants together may agree on alphabet='latin' or 'bytes'"
                )
        return remarks

    def _long_enough(self, texts: Sequence[Tensor]) -> bool:
        return any(len(text) >= self.shortest for text in texts)
