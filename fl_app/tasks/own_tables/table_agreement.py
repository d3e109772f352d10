"""What participants with tables have agreed on: columns, means, deviations and categories."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fl_app.core.errors import ConfigError
from fl_app.tasks.own_tables.options import TableOptions


@dataclass(frozen=True)
class TableAgreement:
    """How every participant makes the same numbers of its table.

    Attributes:
        numeric: Columns of numbers, in the order of the model's inputs; `None` while unknown.
        categorical: Columns of categories, after those; likewise.
        means: Of columns of numbers, and of the target of a regression.
        deviations: Their standard deviations; 1 where all numbers are equal.
        categories: By column, sorted.
    """

    numeric: tuple[str, ...] | None = None
    categorical: tuple[str, ...] | None = None
    means: Mapping[str, float] = field(default_factory=dict)
    deviations: Mapping[str, float] = field(default_factory=dict)
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def told_by(cls, options: TableOptions) -> "TableAgreement":
        """Return what is agreed on by the options alone."""
        named = bool(options.numeric or options.categorical)
        return cls(
            options.numeric if named else None,
            options.categorical if named else None,
            {name: mean for name, (mean, _) in options.moments.items()},
            {name: deviation for name, (_, deviation) in options.moments.items()},
            options.categories,
        )

    def numbers(self, options: TableOptions) -> tuple[str, ...]:
        """Return the columns of numbers, the target of a regression among them."""
        return (*(self.numeric or ()), *options.scaled)

    def without_means(self, options: TableOptions) -> tuple[str, ...]:
        """Return the columns of numbers whose mean is not known."""
        return tuple(name for name in self.numbers(options) if name not in self.means)

    def without_deviations(self, options: TableOptions) -> tuple[str, ...]:
        """Return the columns of numbers whose deviation is not known."""
        return tuple(name for name in self.numbers(options) if name not in self.deviations)

    def without_categories(self, options: TableOptions) -> tuple[str, ...]:
        """Return the columns whose categories are neither known nor hashed."""
        if options.buckets:
            return ()
        return tuple(name for name in self.categorical or () if name not in self.categories)

    def encode(self) -> str:
        """Write it as a text, exactly."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def decode(cls, text: str, options: TableOptions) -> "TableAgreement":
        """Undo `encode`.

        Raises:
            ConfigError: If the text is not one, or uses a column that the options leave out.
        """
        try:
            content = json.loads(text)
            agreement = cls(
                _names(content["numeric"]),
                _names(content["categorical"]),
                {str(name): _finite(mean) for name, mean in content["means"].items()},
                {str(name): _finite(value) for name, value in content["deviations"].items()},
                {str(c): _names(names) or () for c, names in content["categories"].items()},
            )
            if any(value <= 0 for value in agreement.deviations.values()):
                raise ValueError("a deviation is not positive")
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise ConfigError(
                f"what the tables' preparation was agreed to be cannot be read: {error}"
            ) from error
        columns = {*(agreement.numeric or ()), *(agreement.categorical or ())}
        if left_out := sorted(columns & {*options.ignore, options.target}):
            raise ConfigError(
                f"the agreement on the tables uses the column {left_out[0]!r}, which the task "
                "leaves out"
            )
        return agreement


def _names(value: Any) -> tuple[str, ...] | None:  # noqa: ANN401 - of a text from elsewhere
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError("names are not a list of texts")
    return tuple(value)


def _finite(value: Any) -> float:  # noqa: ANN401
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("a mean or deviation is not finite")
    return number
