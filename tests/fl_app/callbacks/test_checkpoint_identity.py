"""Which checkpoints a run may go on from."""

from collections.abc import Mapping
from typing import Any

import pytest

from fl_app.callbacks.checkpoint import Checkpoint, check_identity, run_identity
from fl_app.core.errors import ResumeError
from fl_app.core.run_config import DEFAULTS

# What came with tasks: a checkpoint of an earlier release says nothing of these.
_NEWER = ("task", "local-optimizer", "gradient-clip", "local-parameters", "image-size")


def _earlier() -> Checkpoint:
    identity = run_identity(DEFAULTS, "0" * 64)
    return _checkpoint({key: value for key, value in identity.items() if key not in _NEWER})


def _checkpoint(identity: Mapping[str, Any]) -> Checkpoint:
    return Checkpoint(1, [], {}, identity, metrics_bytes=0, elapsed_seconds=0.0)


def test_a_key_that_the_checkpoint_is_older_than_had_its_default() -> None:
    check_identity(_earlier(), run_identity(DEFAULTS, "0" * 64))


@pytest.mark.parametrize("key", _NEWER)
def test_a_newer_key_with_another_value_is_another_run(key: str) -> None:
    other = run_identity({**DEFAULTS, key: "another"}, "0" * 64)
    with pytest.raises(ResumeError, match=f"{key} was .*, is another"):
        check_identity(_earlier(), other)


def test_what_is_no_key_has_no_default() -> None:
    agreed = run_identity(DEFAULTS, "0" * 64) | {"agreement": "{}"}
    with pytest.raises(ResumeError, match="agreement was not set, is"):
        check_identity(_earlier(), agreed)
