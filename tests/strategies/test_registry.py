from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flwr.common import Parameters
from flwr.server.strategy import FedAdam

from strategies.aggregation.fednova import NormalisedMean
from strategies.aggregation.weighted_mean import weighted_mean
from strategies.part_kinds import KINDS
from strategies.part_specs import PartError, PartSpec
from strategies.registry import (
    build_part,
    check_name,
    is_path,
    known_name,
)
from tests.strategies.own_parts import refusal


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("krum", "krum", {}),
        (" krum ( ) ", "krum", {}),
        ("krum(num_malicious=2)", "krum", {"num_malicious": 2}),
        ("adam(lr=-1e-3, amsgrad=True)", "adam", {"lr": -1e-3, "amsgrad": True}),
        ("a.b:C(x='y, z(1)')", "a.b:C", {"x": "y, z(1)"}),
    ],
)
def test_a_spec_is_a_name_with_options(text: str, name: str, options: dict[str, Any]):
    spec = PartSpec.parse("aggregator", text)

    assert (spec.name, spec.options) == (name, options)


@pytest.mark.parametrize(
    "text", ["", "krum(2)", "krum(a=", "krum(a=b)", "krum(a=[1])", "krum(a=1)(b=2)", "krum(**a)"]
)
def test_what_is_written_in_another_way_is_refused_and_shown(text: str):
    message = refusal("aggregator", text)

    assert "aggregator = " in message
    assert text in message


def test_no_option_can_run_code(tmp_path: Path):
    sentinel = tmp_path / "ran"

    refusal("aggregator", f"krum(x=open({str(sentinel)!r}, 'w'))")

    assert not sentinel.exists()


@pytest.mark.parametrize(
    ("kind", "name"),
    [(key, name) for key, kind in KINDS.items() if key != "strategy" for name in kind.names],
)
def test_every_name_gives_a_part_of_its_kind(kind: str, name: str):
    needed = {"table": "table(target='outcome', classes='no,yes')"}
    part = build_part(kind, needed.get(name, name))

    assert all(hasattr(part, method) for method in KINDS[kind].offers)
    assert known_name(kind, name) == name


def test_a_function_is_the_part_itself_and_a_class_is_built():
    assert build_part("aggregator", "weighted-mean") is weighted_mean
    assert build_part("aggregator", "fednova") == NormalisedMean()


def test_an_unknown_name_is_told_with_what_there_is_and_the_nearest():
    message = refusal("aggregator", "weighted-maen")

    assert 'aggregator = "weighted-maen"' in message
    assert "did you mean weighted-mean?" in message
    assert "import path" in message


def test_an_unknown_option_is_told_with_what_there_is(own: Path):
    assert 'fednova" has no option speed; it takes none' in refusal(
        "aggregator", "fednova(speed=2)"
    )
    assert "has no option strenght; it takes strength" in refusal(
        "aggregator", f"{own}:Shrunk(strenght=2)"
    )
    assert "has no option updates; it takes scale" in refusal(
        "aggregator", f"{own}:unweighted(updates=2)"
    )


def test_parts_come_from_a_users_own_file(own: Path):
    @dataclass
    class Update:
        delta: list[float]

    unweighted: Callable[..., Any] = build_part("aggregator", f"{own}:unweighted(scale=2.0)")
    shrunk = build_part("aggregator", f"{own}:Shrunk(strength=0.25)")

    assert unweighted([Update([1.0]), Update([2.0])]) == [3.0]
    assert shrunk([Update([8.0])]) == [2.0]
    assert type(shrunk) is type(build_part("aggregator", f"{own}:Shrunk"))


def test_parts_come_from_a_users_own_module(own: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(own.parent))

    assert build_part("aggregator", "my_parts:Shrunk(strength=3)").strength == 3


def test_what_a_part_refuses_is_passed_on(own: Path):
    assert "strength = -1 must not be negative" in refusal(
        "aggregator", f"{own}:Shrunk(strength=-1)"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("/nowhere/parts.py:Part", "there is no file /nowhere/parts.py"),
        ("parts.py:Part", "must be an absolute path"),
        ("no_such_module:Part", "No module named 'no_such_module'"),
        ("json:NoSuchPart", "has no attribute 'NoSuchPart'"),
        ("json:decoder", "lacks __call__"),
    ],
)
def test_a_part_that_cannot_be_imported_says_why(text: str, reason: str):
    message = refusal("aggregator", text)

    assert text in message
    assert reason in message


def test_a_file_that_breaks_on_import_says_how(tmp_path: Path):
    path = tmp_path / "broken.py"
    path.write_text("1 / 0")

    assert "ZeroDivisionError: division by zero" in refusal("aggregator", f"{path}:Part")


def test_something_of_another_kind_is_refused():
    assert "is no codec, it lacks encode, decode" in refusal(
        "codec", "strategies.aggregation.fednova:NormalisedMean"
    )


def test_flowers_strategies_are_built_with_what_the_run_config_gives():
    strategy = build_part(
        "strategy",
        "FedAdam(eta=0.5)",
        initial_parameters=Parameters([], "numpy.ndarray"),
        fraction_fit=0.3,
    )

    assert isinstance(strategy, FedAdam)
    assert (strategy.eta, strategy.fraction_fit) == (0.5, 0.3)
    with pytest.raises(PartError, match="fraction_fit has a run-config key of its own"):
        build_part("strategy", "FedAvg(fraction_fit=0.5)", fraction_fit=0.3)


def test_only_the_projects_own_parts_have_a_known_name():
    assert known_name("aggregator", "fednova()") == "fednova"
    assert known_name("aggregator", "strategies.aggregation.fednova:NormalisedMean") is None


def test_a_class_of_another_kind_is_refused_before_it_is_called(tmp_path: Path):
    path = tmp_path / "careless.py"
    path.write_text(
        "from pathlib import Path\n"
        "class Careless:\n"
        "    def __init__(self, sentinel): Path(sentinel).touch()\n"
    )
    sentinel = tmp_path / "called"

    message = refusal("codec", f"{path}:Careless(sentinel={str(sentinel)!r})")

    assert "is no codec, it lacks encode, decode" in message
    assert not sentinel.exists()


def test_to_check_a_name_imports_and_calls_nothing(tmp_path: Path):
    path, sentinel = tmp_path / "eager.py", tmp_path / "imported"
    path.write_text(f"open({str(sentinel)!r}, 'w').close()\n")

    check_name("codec", f"{path}:Part(a=1)")

    assert not sentinel.exists()
    assert is_path("codec", f"{path}:Part(a=1)")
    assert not is_path("codec", "quantise(bits=4)")
    with pytest.raises(PartError, match="its options cannot be read"):
        check_name("codec", f"{path}:Part(a=[1])")


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        ("strategy", "FedAdam(eta='x')", "eta = 'x' must be a number"),
        ("strategy", "FedAvg(accept_failures=1)", "must be True or False"),
        ("aggregator", "krum(num_malicious=1.5)", "must be a whole number"),
        ("aggregator", "krum(num_malicious=True)", "must be a number"),
        ("codec", "top-k(values=3)", "must be a text"),
        ("lr-schedule", "step(every=2.5)", "must be a whole number"),
        ("adversary", "sign-flip(scale='much')", "must be a number"),
        ("aggregator", "krum(num_malicious=one)", "num_malicious is not a number, a text"),
    ],
)
def test_a_value_of_another_kind_than_the_options_is_told(kind: str, text: str, told: str):
    message = refusal(kind, text)

    assert told in message
    assert "ast." not in message


def test_a_whole_number_will_do_for_an_option_that_is_a_number(own: Path):
    assert build_part("aggregator", "trimmed-mean(trim_fraction=0)").trim_fraction == 0
    assert build_part("aggregator", f"{own}:Shrunk(strength=1)").strength == 1


@pytest.mark.parametrize(
    ("kind", "name", "meant"),
    [
        ("strategy", "fedavg", "did you mean FedAvg?"),
        ("strategy", "FEDAVG", "did you mean FedAvg?"),
        ("strategy", "fedadm", "did you mean FedAdam?"),
        ("strategy", "delta_fedavg", "did you mean delta-fedavg?"),
        ("strategy", "bulyan", "did you mean Bulyan?"),
        ("aggregator", "Krum", "did you mean krum?"),
        ("aggregator", "multi_krum", "did you mean multi-krum?"),
        ("aggregator", "adam", "adam is a server-optimizer;"),
        ("aggregator", "FedAvg", "FedAvg is a strategy;"),
        ("codec", "quantize", "did you mean quantise?"),
        ("dataset", "MNIST", "did you mean mnist?"),
        ("adversary", "None", "did you mean none?"),
        ("partitioner", "Dirichlet", "did you mean dirichlet?"),
    ],
)
def test_the_name_that_is_suggested_is_the_one_that_was_meant(kind: str, name: str, meant: str):
    import fl_app.core.plugins  # noqa: F401 - declares the application's kinds

    assert f"is not known; {meant}" in refusal(kind, name)
