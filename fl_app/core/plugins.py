"""Parts that the run config names, with errors in its terms."""

from typing import Any

from fl_app.core.errors import ConfigError
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
