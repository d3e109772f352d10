"""How a key of the run config is described: once, with type, default, range and sentence."""

from typing import Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

LONGEST_WAIT = 1e9
"""Seconds, some thirty years: a deadline is a point in time that calendars reach."""

Value = bool | int | float | str
Default = TypeVar("Default", bound=Value)


def key_of(name: str) -> str:
    """Return the run-config key of a setting, which is its name with hyphens."""
    return name.replace("_", "-")


class Keys(BaseModel):
    """Some of the keys, in the order in which they are listed, each made by `key`."""

    model_config = ConfigDict(
        alias_generator=key_of, extra="forbid", strict=True, frozen=True, allow_inf_nan=False
    )


def key(
    default: Default,
    says: str,
    *,
    section: str | None = None,
    may_change: bool = False,
    **bounds: float,
) -> Default:
    """Describe a key.

    Args:
        default: In pyproject.toml. A run config without the key is refused all the same.
        says: What the key does, as a sentence.
        section: The heading under which this key and those below it are listed.
        may_change: Whether it may differ on resume: where things are, and when a run ends.
        **bounds: The range of a number, by `ge`, `gt`, `le` and `lt`.
    """
    extra = {"default": default, "section": section, "may-change": may_change}
    described: dict[str, Any] = {"description": says, "json_schema_extra": extra, **bounds}
    return cast(Default, Field(**described))


def said_of(field: FieldInfo, what: str) -> Any:  # noqa: ANN401 - a value, a text or None
    """Return what `key` was told of a field: its "default", "section" or "may-change"."""
    extra = field.json_schema_extra
    if not isinstance(extra, dict):
        raise TypeError(f"{field.alias} is not described by key()")
    return extra[what]
