"""Predictions of the image task: the likeliest classes of a picture."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import nn

from fl_app.tasks.images.pictures.prediction import Invert, classify
from fl_app.tasks.images.pictures.preprocessing import preprocessing_of


class PicturePrediction:
    """Classifies pictures with a saved model."""

    def __init__(
        self, file: Path, model: nn.Module, metadata: Mapping[str, str], invert: Invert
    ) -> None:
        """Set up.

        Args:
            file: Where the model is from, for messages.
            model: A trained one, on the CPU.
            metadata: The file's own.
            invert: Whether black and white are to be swapped.

        Raises:
            UserError: If the metadata does not say how images were treated.
        """
        self._model = model
        self._kind = preprocessing_of(file, metadata, model)
        self._invert = invert

    def lines(self, source: str) -> Iterator[str]:
        """Yield a line for a picture: its likeliest classes, and what was done to it.

        Raises:
            UserError: If it cannot be read, or the model is not for such images.
        """
        yield classify(Path(source), self._model.eval(), self._kind, self._invert)
