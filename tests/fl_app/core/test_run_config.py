from typing import get_args

import pytest

from fl_app.core import run_config
from fl_app.core.errors import ConfigError, UserError
from fl_app.core.run_config import RunConfig, check_key
from tests.fl_app.core.refused_config import DEFAULTS, refusal

NUMBERS = [k for k, v in DEFAULTS.items() if isinstance(v, int | float) and not isinstance(v, bool)]
WHOLE = [k for k, v in DEFAULTS.items() if type(v) is int]
TEXTS = [k for k, v in DEFAULTS.items() if isinstance(v, str)]
PRIVATE = {"privacy": "central", "clip-norm": 1.0, "noise-multiplier": 1.0}


def test_the_defaults_are_the_reference_experiment():
    config = RunConfig.from_run_config(DEFAULTS)

    assert (config.num_server_rounds, config.num_participants, config.local_epochs) == (10, 10, 10)
    assert (config.learning_rate, config.batch_size, config.fraction_fit) == (0.01, 32, 1.0)
    assert (config.model, config.partitioner) == ("simple-cnn", "contiguous")


def test_the_keys_of_pyproject_and_of_the_run_config_are_the_same():
    assert set(RunConfig.from_run_config(DEFAULTS).as_run_config()) == set(DEFAULTS)


def test_pyproject_has_the_keys_in_their_order_with_their_defaults_and_types():
    described = [(key, value, type(value)) for key, value in run_config.DEFAULTS.items()]

    assert [(key, value, type(value)) for key, value in DEFAULTS.items()] == described
    assert list(RunConfig.from_run_config(DEFAULTS).as_run_config()) == list(DEFAULTS)


def test_a_default_has_the_type_of_its_key():
    for field in RunConfig.model_fields.values():
        default = DEFAULTS[str(field.alias)]
        literal = get_args(field.annotation)
        assert default in literal if literal else type(default) is field.annotation, field.alias


def test_what_may_change_on_resume_is_where_things_are_and_when_a_run_ends():
    assert {
        *("data-dir", "output-dir", "resume", "checkpoint-every", "tensorboard"),
        *("num-server-rounds", "round-deadline", "quorum-deadline", "max-failed-rounds"),
        *("target", "target-accuracy", "target-loss", "patience", "min-improvement"),
        *("update-tolerance", "time-budget", "monitor", "best-metric"),
        "secure-stage-deadline",
    } == run_config.MAY_CHANGE


def test_every_setting_is_described():
    assert all(field.description for field in RunConfig.model_fields.values())


def test_as_run_config_undoes_from_run_config():
    changed = DEFAULTS | {"seed": 7, "learning-rate": 0.5, "partitioner": "iid"}

    assert RunConfig.from_run_config(changed).as_run_config() == changed


def test_a_whole_number_is_a_fine_float_and_extremes_are_allowed():
    extremes = {
        "fraction-fit": 1,
        "fraction-evaluate": 0,
        "threads-per-client": 0,
        "seed": 2**63 - 1,
        "min-fit-clients": 10,
    }

    config = RunConfig.from_run_config(DEFAULTS | extremes)

    assert {k: config.as_run_config()[k] for k in extremes} == extremes


def test_a_run_config_is_not_mutated_and_cannot_be_changed():
    given = dict(DEFAULTS)
    config = RunConfig.from_run_config(given)

    assert given == DEFAULTS
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3


@pytest.mark.parametrize("key", DEFAULTS)
def test_a_missing_key_is_named(key):
    assert refusal({}, without=key) == f"run config: {key} is missing"


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("value", ["many", True])
def test_a_number_of_another_type_is_refused(key, value):
    message = refusal({key: value})

    shown = "'many'" if value == "many" else "true"
    assert message.startswith(f"run config: {key} = {shown} is not allowed; it must be a")
    assert "\n" not in message


@pytest.mark.parametrize("key", WHOLE)
def test_half_a_whole_number_is_refused(key):
    message = refusal({key: 1.5})

    assert message.startswith(f"run config: {key} = 1.5 is not allowed; it must be a valid integer")


@pytest.mark.parametrize("key", TEXTS)
def test_a_number_in_the_place_of_a_text_is_refused(key):
    message = refusal({key: 3})

    assert message.startswith(f"run config: {key} = 3 is not allowed; it must be ")


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("num-server-rounds", 0, "greater than or equal to 1"),
        ("num-participants", 0, "greater than or equal to 1"),
        ("local-epochs", -1, "greater than or equal to 1"),
        ("batch-size", 0, "greater than or equal to 1"),
        ("min-fit-clients", 0, "greater than or equal to 1"),
        ("threads-per-client", -1, "greater than or equal to 0"),
        ("shards-per-participant", 0, "greater than or equal to 1"),
        ("classes-per-participant", 0, "greater than or equal to 1"),
        ("fraction-fit", 0.0, "greater than 0"),
        ("fraction-fit", 1.01, "less than or equal to 1"),
        ("fraction-evaluate", -0.1, "greater than or equal to 0"),
        ("fraction-evaluate", 2.0, "less than or equal to 1"),
        ("learning-rate", 0.0, "greater than 0"),
        ("learning-rate", -0.01, "greater than 0"),
        ("learning-rate", float("nan"), "a finite number"),
        ("learning-rate", float("inf"), "a finite number"),
        ("dirichlet-alpha", 0.0, "greater than 0"),
        ("dirichlet-alpha", float("inf"), "a finite number"),
        ("seed", -1, "greater than or equal to 0"),
        ("seed", 2**63, "less than 9223372036854775808"),
        ("batch-size", 10**20, "less than 9223372036854775808"),
        ("learning-rate", 10**20, "less than 9223372036854775808"),
        ("round-deadline", 1e300, "less than 1000000000"),
        ("quorum-deadline", 1e9, "less than 1000000000"),
        ("secure-stage-deadline", 1e12, "less than 1000000000"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_range(key, value, allowed):
    assert refusal({key: value}) == (
        f"run config: {key} = {value} is not allowed; it must be {allowed}"
    )


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("learning_rate", "did you mean learning-rate?"),
        ("lerning-rate", "did you mean learning-rate?"),
        ("num-rounds", "did you mean num-server-rounds?"),
        ("zzz", "the keys are a"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(key, hint):
    assert refusal({key: 1}).startswith(f"run config: there is no key {key}; {hint}")
    with pytest.raises(ConfigError, match=f"there is no key {key}"):
        check_key(key)


@pytest.mark.parametrize("key", DEFAULTS)
def test_every_key_is_known(key):
    check_key(key)


def test_several_faults_are_told_at_once():
    message = refusal({"seed": -1, "batch-size": "x", "nope": 1, "device": "tpu"}, without="model")

    lines = message.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("run config: ") for line in lines)
    for key in ("seed", "batch-size", "nope", "device", "model"):
        assert sum(f" {key} " in line or f" {key};" in line for line in lines) == 1, key


def test_more_participants_cannot_train_than_there_are():
    message = refusal({"min-fit-clients": 11})

    assert "min-fit-clients = 11 is more than num-participants = 10" in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise-multiplier": 1.0}, "noise-multiplier = 1.0 does nothing with privacy = 'none'"),
        ({"target-epsilon": 2.0}, "target-epsilon = 2.0 does nothing with privacy = 'none'"),
        ({"adaptive-clip-quantile": 0.5}, "adaptive-clip-quantile = 0.5 does nothing"),
        ({"privacy": "central", "noise-multiplier": 1.0}, "needs a clip-norm above 0"),
        ({"privacy": "central", "clip-norm": 1.0}, "needs noise-multiplier, or a target-epsilon"),
        (PRIVATE | {"noise-multiplier": 0.001}, "noise-multiplier = 0.001 hides nothing"),
        (PRIVATE | {"privacy-delta": 0.1}, "privacy-delta = 0.1 is not less than 1 / num-part"),
        (PRIVATE | {"num-participants": 200_000}, "privacy-delta = 1e-05 is not less than"),
        (PRIVATE | {"privacy-delta": 1.0}, "it must be less than 1"),
        (PRIVATE | {"privacy": "local"}, "it must be 'none', 'central' or 'distributed'"),
        (PRIVATE | {"clip-norm": -1.0}, "it must be greater than or equal to 0"),
    ],
)
def test_senseless_privacy_is_refused_with_what_to_set(changes, message):
    assert message in refusal(changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"noise-multiplier": 1.0},
        {"noise-multiplier": 0.0, "target-epsilon": 2.0},
        {"noise-multiplier": 1.0, "target-epsilon": 2.0, "adaptive-clip-quantile": 0.5},
        {"privacy": "distributed", "privacy-delta": 0.099},
    ],
)
def test_sensible_privacy_is_let_through(changes):
    RunConfig.from_run_config(DEFAULTS | PRIVATE | changes)


def test_a_refusal_is_a_user_error_without_pydantics_traceback():
    with pytest.raises(UserError) as caught:
        RunConfig.from_run_config({})

    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize("shares", [1, 2, 4, 20])
def test_a_number_of_shares_that_has_no_middle_is_refused(shares):
    message = refusal({"secure-shares": shares})

    assert f"secure-shares = {shares} is not allowed; it must be an odd number from 3" in message


@pytest.mark.parametrize("shares", [0, 3, 21])
def test_an_odd_number_of_shares_is_taken(shares):
    RunConfig.from_run_config(DEFAULTS | {"secure-shares": shares})
