"""Parts that the run config names, with errors in its terms."""

from typing import Any

from fl_app.core.errors import ConfigError
from strategies.aggregation.base import Aggregator, as_aggregator
from strategies.registry import PartError, build_part


def part(kind: str, text: str, **given: Any) -> Any:  # noqa: ANN401 - each kind has its own
    """Build a part of the pipeline by the name that the run config has for it.

    Raises:
        ConfigError: If there is no such part, or it does not take these options.
    """
    try:
        return build_part(kind, text, **given)
    except PartError as error:
        raise ConfigError(f"run config: {error}") from error


def aggregator(text: str) -> Aggregator:
    """Build the aggregator that the run config names; a plain function becomes one.

    Raises:
        ConfigError: If there is none, it does not take these options, or it offers more than a
            function does without being derived from `Aggregator`.
    """
    try:
        return as_aggregator(part("aggregator", text))
    except TypeError as error:
        raise ConfigError(f'run config: aggregator = "{text}": {error}') from error
