"""What a node's operator wrote, and what is wrong with it."""

from typing import Any

import pytest

from fl_app.core.errors import ConfigError
from fl_app.core.node import participant_name, path_in
from fl_app.core.run_config import RunConfig
from tests.fl_app.core.refused_config import DEFAULTS

OWN = RunConfig.from_run_config(DEFAULTS | {"dataset": "own", "class-names": "a,b"})


@pytest.mark.parametrize(("name", "written"), [(5, "5"), (1.5, "1.5"), (True, "true")])
def test_a_name_that_is_no_text_is_not_called_missing(name: Any, written: str):
    with pytest.raises(ConfigError) as caught:
        participant_name({"name": name, "data": "/data"}, OWN)

    assert str(caught.value) == (
        f'node config: name = {written} must be a text: write it in double quotes, name="{written}"'
    )


@pytest.mark.parametrize("node_config", [{}, {"name": ""}, {"name": "  "}])
def test_a_name_that_is_missing_is(node_config: dict[str, Any]):
    with pytest.raises(ConfigError, match="name is missing"):
        participant_name(node_config, OWN)


def test_a_path_that_is_no_text_is_told():
    with pytest.raises(ConfigError, match=r"node config: data = 5 must be a path"):
        path_in({"data": 5}, "data")
    assert path_in({"data": " /data "}, "data") == "/data"
    assert path_in({}, "data") == ""


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        *[("test_data", "test-data"), ("tset-data", "test-data"), ("Test-Data", "test-data")],
        *[("data_cache", "data-cache"), ("state_dir", "state-dir")],
    ],
)
def test_a_key_that_is_nearly_one_is_not_ignored(key: str, meant: str):
    with pytest.raises(ConfigError, match=f"no key {key}; did you mean {meant}"):
        participant_name({"name": "north", "data": "/data", key: "/x"}, OWN)


@pytest.mark.parametrize("key", ["dataset", "data-path", "gpu", "node-name"])
def test_a_key_of_another_app_is_none_of_this_ones_business(key: str):
    assert participant_name({"name": "north", key: "x", "data": "/data"}, OWN) == "north"
