"""The defaults, and what is said of a run config that is refused."""

from typing import Any

import pytest

from fl_app.core.errors import ConfigError
from fl_app.core.run_config import RunConfig
from scripts.repository import default_run_config

DEFAULTS = default_run_config()


def refusal(changes: dict[str, Any], without: str | None = None) -> str:
    """The message for the defaults with changes."""
    config = DEFAULTS | changes
    config.pop(without or "", None)
    with pytest.raises(ConfigError) as caught:
        RunConfig.from_run_config(config)
    return str(caught.value)
