"""Parts that the run config names: the kinds that the application adds, and errors in its terms."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fl_app.core.errors import ConfigError
from strategies.part_imports import Catalogue
from strategies.part_kinds import BY_LABEL, BY_POSITION, Entry, Kind, declare_kind
from strategies.part_specs import PartError
from strategies.registry import build_part, known_name

AUTO_DATA = "auto"
OWN_DATA = "own"
NATURAL = "natural"
HONEST = "none"
SGD = "sgd"
NO_AUGMENTATION = "none"
OWN_STRATEGY = "delta-fedavg"
DEFAULT_TASK = "image-classification"

_PARTITIONERS = "fl_app.data.partitioners:"
_BY_LABEL = frozenset({BY_LABEL})

declare_kind(
    Kind(
        "task",
        offers=("build_model", "load_data", "loss"),
        laws="fl_app.contract.task_laws",
        names={
            DEFAULT_TASK: Entry(
                "fl_app.tasks.images.image_classification:ImageClassification",
                keys={
                    "model": "model",
                    "dataset": "dataset",
                    "class_names": "class-names",
                    "image_mean": "image-mean",
                    "image_std": "image-std",
                    "image_size": "image-size",
                    "image_channels": "image-channels",
                    "augmentation": "augmentation",
                    "pretrained_weights": "pretrained-weights",
                },
            ),
            "table": "fl_app.tasks.own_tables.table_task:TableTask",
            "shakespeare": "fl_app.tasks.texts.shakespeare:Shakespeare",
            "text": "fl_app.tasks.texts.own_text:OwnText",
            "heart-disease": "fl_app.tasks.tables.heart_disease:HeartDisease",
            "breast-cancer": "fl_app.tasks.tables.breast_cancer:BreastCancer",
            "credit": "fl_app.tasks.tables.credit:Credit",
            "course-ratings": "fl_app.tasks.ratings.course_ratings:CourseRatings",
        },
        registered_in="fl_app.models",
    )
)

declare_kind(
    Kind(
        "model",
        offers=("forward", "state_dict"),
        names={"simple-cnn": "fl_app.tasks.images.simple_cnn:SimpleCNN"},
        registered_in="fl_app.models",
        catalogue=Catalogue(
            "torchvision's classification models, such as resnet18",
            "fl_app.tasks.images.torchvision_models:CLASSIFIERS",
        ),
    )
)

declare_kind(
    Kind(
        "dataset",
        offers=("__call__",),
        called_with=("data_dir",),
        words=(AUTO_DATA, OWN_DATA),
        names={
            "mnist": "fl_app.data.datasets:load_mnist",
            "fashion-mnist": "fl_app.data.datasets:load_fashion_mnist",
            "digits": "fl_app.data.datasets:load_digits",
        },
    )
)

declare_kind(
    Kind(
        "local-optimizer",
        offers=("__call__",),
        called_with=("parameters", "learning_rate", "weight_decay"),
        words=(SGD,),
        names={
            "adamw": "fl_app.training.local.optimizers:adamw",
            "adam": "fl_app.training.local.optimizers:adam",
        },
    )
)

declare_kind(
    Kind(
        "augmentation",
        offers=("__call__",),
        called_with=("images", "generator"),
        words=(NO_AUGMENTATION,),
        names={
            "flip": "fl_app.tasks.images.augmentation:flip",
            "crop-flip": "fl_app.tasks.images.augmentation:crop_flip",
            "trivial": "fl_app.tasks.images.augmentation:trivial",
        },
    )
)

declare_kind(
    Kind(
        "partitioner",
        offers=("__call__",),
        called_with=("labels", "num_partitions", "seed"),
        words=(NATURAL,),
        names={
            "contiguous": Entry(f"{_PARTITIONERS}contiguous", frozenset({BY_POSITION})),
            "iid": f"{_PARTITIONERS}iid",
            "dirichlet": Entry(
                f"{_PARTITIONERS}dirichlet", _BY_LABEL, keys={"alpha": "dirichlet-alpha"}
            ),
            "shards": Entry(
                f"{_PARTITIONERS}shards", _BY_LABEL, keys={"each": "shards-per-participant"}
            ),
            "pathological": Entry(
                f"{_PARTITIONERS}pathological", _BY_LABEL, keys={"each": "classes-per-participant"}
            ),
            "linear": f"{_PARTITIONERS}linear",
        },
    )
)


def is_own_strategy(text: str) -> bool:
    """Tell whether a strategy is this project's, into which the parts plug, whatever its options.

    Raises:
        PartError: If the text is not a name with options.
    """
    return known_name("strategy", text) == OWN_STRATEGY


@contextmanager
def told_as_config_error() -> Iterator[None]:
    """Turn a `PartError` into a `ConfigError`, which is told to the user in a sentence."""
    try:
        yield
    except PartError as error:
        raise ConfigError(f"run config: {error}") from error


def part(
    kind: str,
    text: str,
    settings: Mapping[str, Any] | None = None,
    /,
    **given: Any,  # noqa: ANN401 - each kind has its own
) -> Any:  # noqa: ANN401
    """Build a part by the name that the run config has for it; see `build_part`.

    Raises:
        ConfigError: If there is no such part, or it does not take these options.
    """
    with told_as_config_error():
        return build_part(kind, text, settings, **given)
