"""What the application relies on of Flower's messages and of what is around them."""

from collections.abc import Callable

import numpy as np
from flwr.app import Context, Error, Message, RecordDict
from flwr.common import (
    Code,
    EvaluateIns,
    EvaluateRes,
    FitIns,
    FitRes,
    GetPropertiesIns,
    GetPropertiesRes,
    Status,
    ndarrays_to_parameters,
)

from tests.support.flower.reliance import Reliance, compat, found, has

CONVERTERS = "flwr.compat.common.recorddict_compat"


PARAMETERS = ndarrays_to_parameters([np.arange(3, dtype=np.float32)])


FINE = Status(Code.OK, "")


def _there_and_back(kind: str, value: object, *flags: bool) -> Callable[[], None]:
    def check() -> None:
        record = found(f"{CONVERTERS}:{kind}_to_recorddict")(value, *flags)
        assert found(f"{CONVERTERS}:recorddict_to_{kind}")(record, *flags) == value

    return check


def _fit_reply(**metrics: float) -> RecordDict:
    result = FitRes(FINE, PARAMETERS, 3, dict(metrics))
    record: RecordDict = found(f"{CONVERTERS}:fitres_to_recorddict")(result, keep_input=True)
    return record


def _array_record() -> None:
    record = found(f"{CONVERTERS}:parameters_to_arrayrecord")(PARAMETERS, keep_input=False)
    reply = _fit_reply()
    reply.array_records[compat().FIT_PARAMETERS_RECORD] = record
    assert list(reply.array_records) == ["fitres.parameters"]


def _unusable_reply() -> None:
    try:
        found(f"{CONVERTERS}:recorddict_to_fitres")(RecordDict(), keep_input=False)
    except (KeyError, TypeError, ValueError):
        return
    raise AssertionError("a reply without records is taken for a FitRes")


def _legacy_context() -> None:
    given = {"config": object(), "strategy": object(), "client_manager": object()}
    context = Context(1, 0, {}, RecordDict(), {})
    legacy = found("flwr.server.compat:LegacyContext")(context, **given)
    assert {name: getattr(legacy, name) for name in given} == given
    assert legacy.state is context.state


def _message() -> Message:
    compat().identify_process(1, 1, 0)
    kind, content = "train", RecordDict()
    return Message(content, dst_node_id=5, message_type=kind, group_id="2", ttl=9.0)


def _message_fields() -> None:
    sent = _message()
    data = sent.metadata
    given = (data.dst_node_id, data.message_type, data.group_id, data.ttl)
    assert given == (5, "train", "2", 9.0)
    assert isinstance(data.created_at, float)
    compat().set_message_id(sent, "an id")
    assert data.message_id == "an id"
    reply = Message(Error(2, "why"), reply_to=sent)
    assert reply.metadata.reply_to_message_id == "an id"
    assert reply.has_error()
    assert (reply.error.code, reply.error.reason) == (2, "why")


def _message_types() -> None:
    modern, legacy = found("flwr.app:MessageType"), found("flwr.common:MessageTypeLegacy")
    compat()
    ours = [str(kind) for kind in found("fl_app.messaging.transport:MessageType")]
    assert ours == [modern.TRAIN, modern.EVALUATE, legacy.GET_PROPERTIES]


def _task_identity() -> None:
    identity = found("flwr.supercore.task_identity:TaskIdentity")
    compat().identify_process(1, 1, 0)
    assert (identity.task_id, identity.run_id, identity.node_id) == (1, 1, 0)


def _empty_run() -> None:
    assert found("flwr.supercore.run:Run").create_empty(7).run_id == 7


def _error_codes() -> None:
    codes = found("flwr.common.constant:ErrorCode")
    expected = (codes.CLIENT_APP_RAISED_EXCEPTION, codes.NODE_UNAVAILABLE)
    assert expected == (compat().CLIENT_APP_FAILED, compat().NODE_UNAVAILABLE)
    assert Error(codes.NODE_UNAVAILABLE, "").code == codes.NODE_UNAVAILABLE


def _converter(name: str, used_for: str, check: Callable[[], None]) -> Reliance:
    return Reliance(f"{CONVERTERS}.{name}", used_for, check, (name,))


FIT_INS, EVALUATE_INS = FitIns(PARAMETERS, {"a": 1}), EvaluateIns(PARAMETERS, {"a": 1})


ASKED, TOLD = GetPropertiesIns({"a": 1}), GetPropertiesRes(FINE, {"a": 1})


FIT_RES, EVALUATE_RES = FitRes(FINE, PARAMETERS, 3, {}), EvaluateRes(FINE, 0.5, 3, {})


MESSAGES = [
    _converter(
        "fitins_to_recorddict", "ask for training", _there_and_back("fitins", FIT_INS, True)
    ),
    _converter(
        "evaluateins_to_recorddict",
        "ask for an evaluation",
        _there_and_back("evaluateins", EVALUATE_INS, True),
    ),
    _converter(
        "getpropertiesins_to_recorddict",
        "ask participants for their names",
        _there_and_back("getpropertiesins", ASKED),
    ),
    _converter(
        "recorddict_to_getpropertiesres",
        "learn participants' names",
        _there_and_back("getpropertiesres", TOLD),
    ),
    _converter("recorddict_to_fitres", "read an update", _there_and_back("fitres", FIT_RES, True)),
    _converter(
        "recorddict_to_evaluateres",
        "read an evaluation",
        _there_and_back("evaluateres", EVALUATE_RES),
    ),
    Reliance(
        f"the errors of {CONVERTERS}",
        "count a damaged reply as a failure of its sender",
        _unusable_reply,
    ),
    Reliance(
        f"{CONVERTERS}.parameters_to_arrayrecord, and the name fitres.parameters",
        "replace the arrays of a reply by what is to be masked",
        _array_record,
        ("parameters_to_arrayrecord", "FIT_PARAMETERS_RECORD"),
    ),
    Reliance(
        "flwr.server.compat.LegacyContext",
        "hand strategy and client manager to the round loop",
        _legacy_context,
        ("LegacyContext",),
    ),
    Reliance(
        "flwr.clientapp.typing.ClientAppCallable",
        "type its client mods",
        lambda: has("flwr.clientapp.typing", "ClientAppCallable"),
        ("ClientAppCallable",),
    ),
    Reliance(
        "flwr.common.constant.ErrorCode",
        "say that a participant's work failed, or that its node is gone",
        _error_codes,
        ("CLIENT_APP_FAILED", "NODE_UNAVAILABLE"),
    ),
    Reliance(
        "flwr.app.Message and its metadata",
        "send messages, match replies, and keep deadlines",
        _message_fields,
        ("set_message_id",),
    ),
    Reliance(
        "the message types train, evaluate and get_properties",
        "say what a message asks for",
        _message_types,
    ),
    Reliance("flwr.supercore.run.Run", "name the run of a proxy", _empty_run, ("Run",)),
    Reliance(
        "flwr.supercore.task_identity.TaskIdentity",
        "create messages in a process that Flower did not start",
        _task_identity,
        ("identify_process",),
    ),
]
