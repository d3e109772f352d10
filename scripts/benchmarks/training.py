"""Local training and evaluation, measured against the textbook loop."""

import statistics
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from fl_app.data.tensor_dataset import ImageExamples, normalise
from fl_app.tasks.images.image_classification import ImageClassification
from fl_app.tasks.model.parameters import get_weights
from fl_app.tasks.registry import build_model
from fl_app.training.local.local_training import cpu_threads, evaluate, local_update
from fl_app.training.local.sgd import Precision, TrainingSettings
from scripts.benchmarks.table import Row, interleave, median_ratio, spread
from scripts.harness.reference import TextbookCNN, train_locally

_BATCH, _RATE, _SEED = 32, 0.01, 1
_TASK = ImageClassification()
_ROUND_EXAMPLES, _TEST_EXAMPLES = 60_000, 10_000  # the reference experiment's
_TWO = "2 processes x 1 thread"


class Pictures(Dataset[tuple[Tensor, int]]):
    """Images as torchvision's MNIST gives them: one at a time, through PIL and transforms."""

    def __init__(self, pixels: Tensor, labels: Tensor) -> None:
        """Hold uint8 images [N, H, W] and their labels [N]."""
        from torchvision import transforms  # slow, and only needed to measure

        self.pixels, self.labels = pixels, labels
        self._transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
        )

    def __len__(self) -> int:
        """The number of images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return a normalised image [1, H, W] and its label."""
        image = Image.fromarray(self.pixels[index].numpy())
        return self._transform(image), int(self.labels[index])

    def examples(self) -> ImageExamples:
        """Return the same as tensors, as the application holds them."""
        return ImageExamples(normalise(self.pixels.numpy(), 0.1307, 0.3081), self.labels)


def pictures(data_dir: Path, number: int) -> tuple[Pictures, str]:
    """Return the first images of MNIST, or random ones of its shape, and which they are."""
    from torchvision import datasets

    try:
        mnist = datasets.MNIST(str(data_dir), train=True)
        return Pictures(mnist.data[:number], mnist.targets[:number]), "MNIST"
    except RuntimeError:
        draw = partial(torch.randint, generator=torch.Generator().manual_seed(_SEED))
        pixels = draw(0, 256, (number, 28, 28)).to(torch.uint8)
        return Pictures(pixels, draw(0, 10, (number,))), "random images of MNIST's shape"


def train_naive(data: Pictures, threads: int) -> None:
    """Train one epoch with the textbook loop."""
    model = TextbookCNN.with_weights_of(build_model("simple-cnn", _SEED))
    with cpu_threads(threads):
        train_locally(
            model,
            data,
            len(data),
            epochs=1,
            batch_size=_BATCH,
            learning_rate=_RATE,
            generator=torch.Generator().manual_seed(_SEED),
        )


def train_product(examples: ImageExamples, precision: Precision) -> None:
    """Train one epoch as a participant does, on one thread."""
    model = build_model("simple-cnn", _SEED)
    settings = TrainingSettings(1, _BATCH, _RATE, precision)
    generator = torch.Generator().manual_seed(_SEED)
    with cpu_threads(1):
        local_update(_TASK, model, get_weights(model), examples, settings, generator)


def _evaluate(examples: ImageExamples) -> None:
    """Evaluate as the server does, while nobody trains: with all threads."""
    evaluate(_TASK, build_model("simple-cnn", _SEED), examples)


# What a worker process trains on, sent once when it starts: a case must not measure the sending.
_worker_cases: dict[str, Callable[[], None]] = {}


def _local_cases(data: Pictures) -> dict[str, Callable[[], None]]:
    examples = data.examples()
    return {
        "naive": partial(train_naive, data, 1),
        "reference": partial(train_naive, data, 0),
        "float32": partial(train_product, examples, "float32"),
        "bfloat16": partial(train_product, examples, "bfloat16"),
    }


def _start_worker(pixels: Tensor, labels: Tensor) -> None:
    _worker_cases.update(_local_cases(Pictures(pixels, labels)))


def _run_in_worker(case: str) -> None:
    _worker_cases[case]()


@contextmanager
def two_workers(data: Pictures) -> Iterator[Callable[[str, int], None]]:
    """Yield a function that runs a case in one or two processes at once and waits for it."""
    with ExitStack() as stack:
        pools = [
            stack.enter_context(
                ProcessPoolExecutor(
                    1, get_context("spawn"), _start_worker, (data.pixels, data.labels)
                )
            )
            for _ in range(2)
        ]

        def run(case: str, processes: int) -> None:
            for future in [pool.submit(_run_in_worker, case) for pool in pools[:processes]]:
                future.result()

        yield run


def measure_training(data: Pictures, repeats: int) -> list[Row]:
    """Measure one local epoch in every way, and the evaluation that follows a round.

    The textbook loop has processes of its own: training changes how its process keeps memory.
    """
    tests = data.examples()
    with two_workers(data) as textbook, two_workers(data) as product:
        cases: dict[str, Callable[[], None]] = {
            "naive loop, 1 thread": partial(textbook, "naive", 1),
            "product float32, 1 thread": partial(product, "float32", 1),
            "product bfloat16, 1 thread": partial(product, "bfloat16", 1),
            f"naive, {_TWO}": partial(textbook, "naive", 2),
            f"float32, {_TWO}": partial(product, "float32", 2),
            f"bfloat16, {_TWO}": partial(product, "bfloat16", 2),
            "the reference's loop, 1 process, all threads": partial(textbook, "reference", 1),
            "evaluation": partial(_evaluate, tests),
        }
        seconds = interleave(cases, repeats)
    evaluation = seconds.pop("evaluation")
    return _training_rows(seconds, len(data)) + _evaluation_rows(seconds, evaluation, len(data))


def _training_rows(seconds: Mapping[str, list[float]], examples: int) -> list[Row]:
    base = seconds["naive loop, 1 thread"]
    rows: list[Row] = []
    for name, times in seconds.items():
        workers = 2 if name.endswith(_TWO) else 1
        ratio = workers * median_ratio(base, times)
        median = statistics.median(times)
        rate = workers * examples / median
        rows.append(
            Row("training", name, median, spread(times), ratio, "x naive", rate, "samples/s")
        )
    return rows


def _evaluation_rows(
    seconds: Mapping[str, list[float]], evaluation: list[float], examples: int
) -> list[Row]:
    """Set the evaluation of 10,000 examples against the training of a round."""
    rows = []
    median = statistics.median(evaluation)
    share = median_ratio(evaluation, seconds[f"float32, {_TWO}"]) * _TEST_EXAMPLES / examples
    for epochs in (1, 10):
        per_round = epochs * _ROUND_EXAMPLES / (2 * examples)
        ratio = share / per_round
        rows.append(
            Row(
                "evaluation",
                f"10,000 test examples, all threads, {epochs} local epochs",
                median,
                spread(evaluation),
                100 * ratio / (1 + ratio),
                "% of a round on 2 workers",
                examples / median,
                "samples/s",
            )
        )
    return rows
