"""Predictions of the image task: the likeliest classes of a picture."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fl_app.core.errors import UserError
from fl_app.data.tensor_dataset import normalise
from fl_app.tasks.images.model_outputs import check_outputs
from scripts.analysis.pictures import Invert, as_in_training
from scripts.analysis.preprocessing import Preprocessing, preprocessing_of

_TOP = 3


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
        path = Path(source)
        pixels, notes = as_in_training(path, self._kind, self._invert)
        answers = _classify(self._model, pixels, self._kind)
        yield f"{path}: {answers}" + (f"  [{'; '.join(notes)}]" if notes else "")


def _classify(model: nn.Module, pixels: np.ndarray, kind: Preprocessing) -> str:
    try:
        images = normalise(pixels[np.newaxis], kind.mean, kind.std)
        with torch.inference_mode():
            outputs = model.eval()(images)
        check_outputs(outputs, 1, num_classes=1)
        probabilities = outputs[0].exp()
    except RuntimeError as error:
        shape = "x".join(map(str, kind.image_shape))
        raise UserError(f"the model does not take {shape} images: {error}") from error
    if len(probabilities) < len(kind.class_names):
        raise UserError(
            f"the model knows {len(probabilities)} classes, its file names {len(kind.class_names)}"
        )
    best = probabilities[: len(kind.class_names)].topk(min(_TOP, len(kind.class_names)))
    return ", ".join(
        f"{kind.class_names[int(label)]} ({float(share):.1%})"
        for share, label in zip(best.values, best.indices, strict=True)
    )
