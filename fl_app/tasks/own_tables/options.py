"""The options of the task `table`: what the run config says of everybody's tables."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from fl_app.core.errors import ConfigError

CLASSIFICATION, REGRESSION = "classification", "regression"

Told = TypeVar("Told")


@dataclass(frozen=True)
class TableOptions:
    """What is told of the tables, read and checked.

    Attributes:
        target: The column to predict.
        kind: `CLASSIFICATION` or `REGRESSION`.
        classes: The names of the classes, by label; none for a regression.
        ignore: Columns to leave out, such as names of patients.
        numeric: Columns of numbers; with `categorical` empty, too, columns are found.
        categorical: Columns of categories.
        categories: The categories of a column, where they are told.
        moments: Mean and deviation of a column of numbers, where they are told.
        ranges: The least and the largest number of a column, where they are told.
        buckets: Categories that are not told are hashed to so many; 0 asks for them.
    """

    target: str
    kind: str
    classes: tuple[str, ...]
    ignore: tuple[str, ...]
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]]
    moments: Mapping[str, tuple[float, float]]
    ranges: Mapping[str, tuple[float, float]]
    buckets: int

    @property
    def scaled(self) -> tuple[str, ...]:
        """The numeric column that is predicted, if there is one."""
        return (self.target,) if self.kind == REGRESSION else ()


def read_options(
    target: str,
    kind: str,
    classes: str,
    ignore: str,
    numeric: str,
    categorical: str,
    categories: str,
    moments: str,
    ranges: str,
    buckets: int,
) -> TableOptions:
    """Read the options as the run config writes them; see `TableTask`.

    Raises:
        ConfigError: Names the option, its value, and what would be right.
    """
    options = TableOptions(
        target=target.strip(),
        kind=kind,
        classes=tuple(map(canonical, _names("classes", classes))),
        ignore=_names("ignore", ignore),
        numeric=_names("numeric", numeric),
        categorical=_names("categorical", categorical),
        categories=dict(_by_column("categories", categories, 1, _categories)),
        moments=dict(_by_column("moments", moments, 2, _moments)),
        ranges=dict(_by_column("ranges", ranges, 2, _range)),
        buckets=buckets,
    )
    _check_kind(options)
    _check_columns(options)
    return options


def canonical(category: str) -> str:
    """Return a category as it is compared: a whole number is written without decimals."""
    whole, point, decimals = category.strip().partition(".")
    if point and not decimals.strip("0") and whole.lstrip("+-").isdecimal():
        return whole
    return category.strip()


def option_error(text: str) -> ConfigError:
    """Make the error for an option of the task."""
    return ConfigError(f"run config: task = 'table(...)': {text}")


def _check_kind(options: TableOptions) -> None:
    if not options.target:
        raise option_error("target is missing: the name of the column to predict")
    if options.kind not in (CLASSIFICATION, REGRESSION):
        raise option_error(f"kind = {options.kind!r} is neither classification nor regression")
    if options.kind == CLASSIFICATION and len(options.classes) < 2:
        raise option_error(
            "a classification needs classes, two or more in an order that all agree on, for "
            "instance classes='no,yes'; or set kind='regression'"
        )
    if options.kind == REGRESSION and options.classes:
        raise option_error("a regression has no classes; leave them out, or the kind")
    if len(set(options.classes)) < len(options.classes):
        raise option_error(f"classes = {','.join(options.classes)!r} has a class twice")


def _check_columns(options: TableOptions) -> None:
    columns = (*options.numeric, *options.categorical, *options.ignore, options.target)
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise option_error(
            f"the column {twice[0]!r} is named twice; it can be the target, numeric, categorical "
            "or ignored"
        )
    if not 0 <= options.buckets <= 10_000:
        raise option_error(f"buckets = {options.buckets} must be from 0 to 10000")
    known = {
        "categories": (set(options.categorical), options.categories),
        "moments": ({*options.numeric, *options.scaled}, options.moments),
        "ranges": ({*options.numeric, *options.scaled}, options.ranges),
    }
    for option, (expected, told) in known.items():
        if strange := sorted(set(told) - expected):
            kind = "categorical" if option == "categories" else "numeric"
            raise option_error(
                f"{option} names the column {strange[0]!r}, which is not among those of {kind}"
            )


def _names(option: str, text: str) -> tuple[str, ...]:
    if not text.strip():
        return ()
    names = tuple(name.strip() for name in text.split(","))
    if "" in names:
        raise option_error(f"{option} = {text!r} has an empty name between commas")
    return names


def _by_column(
    option: str, text: str, colons: int, read: Callable[[list[str]], Told]
) -> Iterator[tuple[str, Told]]:
    """Yield what is told of each column in `column:...,column:...`."""
    for one in _names(option, text):
        name, *told = (piece.strip() for piece in one.rsplit(":", colons))
        try:
            if len(told) != colons:
                raise ValueError(f"{colons} colon{'s' * (colons > 1)} must follow the column")
            yield name, read(told)
        except ValueError as error:
            raise option_error(f"{option}: {one!r}: {error}") from None


def _categories(told: list[str]) -> tuple[str, ...]:
    names = tuple(map(canonical, told[0].split("|")))
    if "" in names or len(set(names)) < len(names):
        raise ValueError('categories are separated by "|", none empty and none twice')
    return names


def _moments(told: list[str]) -> tuple[float, float]:
    mean, deviation = map(float, told)
    if not (math.isfinite(mean) and 0 < deviation < math.inf):
        raise ValueError("write column:mean:deviation, the deviation above 0")
    return mean, deviation


def _range(told: list[str]) -> tuple[float, float]:
    low, high = map(float, told)
    if not -math.inf < low < high < math.inf:
        raise ValueError("write column:least:largest, the largest above the least")
    return low, high
