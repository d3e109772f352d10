"""Kinds of parts: declared once, with words, keys, facts and registered names."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from strategies.part_imports import Catalogue
from strategies.part_kinds import KINDS, WEIGHTED_MEAN, Entry, Kind, declare_kind
from strategies.registry import (
    build_part,
    check_name,
    facts_of,
    is_path,
    known_name,
    open_options,
    register,
)
from tests.strategies.own_parts import refusal


def test_a_word_of_a_kind_is_known_and_is_no_part():
    check_name("adversary", "none")

    assert not is_path("adversary", "none")
    assert "has a meaning of its own" in refusal("adversary", "none")
    assert "did you mean none?" in refusal("adversary", "nonee")


@pytest.fixture
def toys() -> Iterator[Kind]:
    """A kind for one test, declared by the public way."""
    yield declare_kind(
        Kind(
            "toy",
            offers=("__call__",),
            called_with=("number",),
            names={"scaled": Entry(scaled, frozenset({"a fact"}), keys={"by": "toy-factor"})},
            words=("none",),
        )
    )
    del KINDS["toy"]


def scaled(number: float, *, by: float) -> float:
    return number * by


def test_an_option_with_a_key_takes_its_value_where_it_is_not_given(toys: Kind):
    settings = {"toy-factor": 0.0, "other": 1}

    assert build_part("toy", "scaled", settings)(3.0) == 0.0
    assert build_part("toy", "scaled(by=2)", settings)(3.0) == 6.0
    assert build_part("toy", "scaled(by=2)")(3.0) == 6.0


def test_a_part_is_registered_once_by_a_decorator_and_built_by_its_name(toys: Kind):
    @register("toy", "negated")
    def negated(number: float) -> float:
        return -number

    assert build_part("toy", "negated") is negated
    assert known_name("toy", "negated") == "negated"
    for taken in ("negated", "scaled", "none"):
        with pytest.raises(ValueError, match=f"the toy '{taken}' is registered already"):
            register("toy", taken)(negated)


def test_facts_are_those_of_the_entry_and_nobodys_elses(toys: Kind, own: Path):
    assert facts_of("toy", "scaled(by=1)") == {"a fact"}
    assert facts_of("aggregator", "weighted-mean") == {WEIGHTED_MEAN}
    assert facts_of("aggregator", "median") == frozenset()
    assert facts_of("aggregator", f"{own}:unweighted") == frozenset()


def test_a_kind_is_declared_once():
    with pytest.raises(ValueError, match="the kind codec is declared already"):
        declare_kind(KINDS["codec"])


def test_names_of_a_catalogue_are_found_and_suggested_and_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "toy_catalogue.py").write_text(
        "def large():\n    return 'large'\n\nTOYS = {'large-toy': large, 'named': large}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    further = Catalogue("the toys of a library", "toy_catalogue:TOYS")
    kind = Kind("many-toys", ("__class__",), {"named": lambda: "small"}, catalogue=further)
    monkeypatch.setitem(KINDS, "many-toys", kind)

    assert known_name("many-toys", "large-toy") == "large-toy"
    assert build_part("many-toys", "large-toy") == "large"
    assert build_part("many-toys", "named") == "small"  # the kind's own names come first
    assert not is_path("many-toys", "large-toy")
    told = refusal("many-toys", "larg-toy")
    assert "did you mean large-toy? the names are named, the toys of a library" in told


def test_what_a_text_leaves_open_of_a_part_is_told(toys: Kind):
    assert open_options("toy", "scaled") == {"number", "by"}
    assert open_options("toy", "scaled(by=2)") == {"number"}


def test_names_that_a_module_registers_are_found_when_they_are_asked_for(tmp_path, monkeypatch):
    (tmp_path / "late_toys.py").write_text(
        "from strategies.registry import register\n"
        "@register('late-toy', 'late')\n"
        "def late(number): return number\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    kind = Kind("late-toy", ("__call__",), {}, ("number",), registered_in="late_toys")
    monkeypatch.setitem(KINDS, "late-toy", kind)

    assert build_part("late-toy", "late")(3) == 3
