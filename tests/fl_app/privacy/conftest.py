import logging
from typing import Any

import pytest

from tests.fl_app.privacy.private_run import Z


@pytest.fixture
def config(config) -> dict[str, Any]:
    private: dict[str, Any] = config | {"fraction-evaluate": 0.0, "num-server-rounds": 3}
    return private


@pytest.fixture
def central(config: dict[str, Any]) -> dict[str, Any]:
    return config | {"privacy": "central", "clip-norm": 0.1, "noise-multiplier": Z}


@pytest.fixture
def distributed(central: dict[str, Any]) -> dict[str, Any]:
    return central | {"privacy": "distributed"}


@pytest.fixture
def flower_log(caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(logging.getLogger("flwr"), "propagate", True)
    return caplog
