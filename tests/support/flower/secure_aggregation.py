"""What the application relies on of Flower's SecAgg+: constants, stages, state, arithmetic."""

import base64
import inspect
from dataclasses import fields
from typing import Any

import numpy as np
from cryptography.fernet import InvalidToken
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1
from flwr.app import ConfigRecord, Context, Message, RecordDict

from tests.support.flower.reliance import Reliance, compat, found, has, takes

CONSTANTS = "flwr.common.secure_aggregation.secaggplus_constants"
WORKFLOW = "flwr.server.workflow.secure_aggregation.secaggplus_workflow"
KEYS = (
    *("STAGE", "SAMPLE_NUMBER", "SHARE_NUMBER", "THRESHOLD", "CLIPPING_RANGE", "TARGET_RANGE"),
    *("MOD_RANGE", "MAX_WEIGHT", "PUBLIC_KEY_1", "PUBLIC_KEY_2", "DESTINATION_LIST"),
    *("CIPHERTEXT_LIST", "MASKED_PARAMETERS", "ACTIVE_NODE_ID_LIST", "DEAD_NODE_ID_LIST"),
    *("NODE_ID_LIST", "SHARE_LIST"),
)


def _after_setup() -> tuple[Context, Message]:
    """Let Flower's mod do the setup stage; the participant's context, and its reply."""
    flower = compat()
    flower.identify_process(1, 1, 0)
    key = flower.SecAggKey
    terms: dict[str, Any] = {
        key.STAGE: flower.SecAggStage.SETUP,
        key.SAMPLE_NUMBER: 3,
        key.SHARE_NUMBER: 3,
        key.THRESHOLD: 2,
        key.CLIPPING_RANGE: 1.5,
        key.TARGET_RANGE: 1000,
        key.MOD_RANGE: 2**32,
        key.MAX_WEIGHT: 60.0,
    }
    asked = RecordDict({flower.RECORD_KEY_CONFIGS: ConfigRecord(terms)})
    context = Context(1, 5, {}, RecordDict(), {})
    message = Message(asked, dst_node_id=5, message_type="train", group_id="1")
    reply = flower.secaggplus_mod(message, context, lambda *_: message)
    return context, reply


def _state() -> None:
    state = found(f"{CONSTANTS}:RECORD_KEY_STATE")
    has("flwr.client.mod", "secaggplus_mod")
    context, _ = _after_setup()
    assert compat().agreed_terms(context) == (1.5, 60.0)
    del context.state.config_records[state]


def _public_keys() -> None:
    record = found(f"{CONSTANTS}:RECORD_KEY_CONFIGS")
    _, reply = _after_setup()
    key = compat().SecAggKey
    answer = reply.content.config_records[record]
    read = compat().bytes_to_public_key
    curves = {read(answer[name]).curve.name for name in (key.PUBLIC_KEY_1, key.PUBLIC_KEY_2)}
    assert curves == {SECP384R1.name}


def _shares() -> None:
    create = found("flwr.common.secure_aggregation.crypto.shamir:create_shares")
    lengths = {len(share) for share in create(b"0" * 32, 2, 3) + create(b"0" * 300, 2, 3)}
    assert all(length >= 20 and length % 16 == 4 for length in lengths), lengths


def _wrong_key() -> None:
    module = found("flwr.common.secure_aggregation.crypto.symmetric_encryption")
    right, wrong = (base64.urlsafe_b64encode(digit * 32) for digit in (b"0", b"1"))
    try:
        module.decrypt(wrong, module.encrypt(right, b"share"))
    except InvalidToken:
        return
    raise AssertionError("what was encrypted with another key is decrypted")


def _rounding() -> None:
    quantize = found("flwr.common.secure_aggregation.quantization:quantize")
    values = [np.linspace(-1, 1, 50)]
    before = np.random.get_state()
    try:
        runs = []
        for seed in (1, 1, 2):
            np.random.seed(seed)
            (rounded,) = quantize(values, 1.0, 1000)
            runs.append(rounded)
    finally:
        np.random.set_state(before)
    assert runs[0].dtype == np.int32
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any(), "it does not depend on NumPy's global generator"


def _workflow() -> None:
    takes(
        "flwr.server.workflow:SecAggPlusWorkflow",
        num_shares=3,
        reconstruction_threshold=2 / 3,
        max_weight=60.0,
        clipping_range=1.0,
        quantization_range=1000,
        modulus_range=2**32,
    )
    for stage in ("setup", "share_keys", "collect_masked_vectors", "unmask"):
        path = f"flwr.server.workflow:SecAggPlusWorkflow.{stage}_stage"
        takes(path, None, "grid", "context", "state")


def _stage_source(stage: str, *texts: str) -> None:
    text = inspect.getsource(found(f"flwr.server.workflow:SecAggPlusWorkflow.{stage}_stage"))
    text = " ".join(text.split())
    missing = [wanted for wanted in texts if wanted not in text]
    assert not missing, f"{stage}_stage no longer contains {missing}"


def _stand_in_strategy() -> None:
    setup = "context.strategy.configure_fit( current_round, parameters, context.client_manager )"
    _stage_source("setup", setup, "proxy.node_id: compat.fitins_to_recorddict(fitins, True)")
    _stage_source("unmask", "context.strategy.aggregate_fit( current_round, results, ")
    _stage_source("setup", "grid.send_and_receive(")


def _threshold() -> None:
    _stage_source("setup", "round(self.reconstruction_threshold * state.num_shares)")


def _workflow_state() -> None:
    names = {field.name for field in fields(found(f"{WORKFLOW}:WorkflowState"))}
    needed = {"active_node_ids", "sampled_node_ids", "nid_to_neighbours", "num_shares"}
    assert needed | {"threshold"} <= names, needed - names


def _context_records() -> None:
    constants = found("flwr.server.workflow.constant")
    records = (constants.MAIN_CONFIGS_RECORD, constants.MAIN_PARAMS_RECORD)
    assert all(isinstance(name, str) for name in (*records, constants.Key.CURRENT_ROUND))
    _stage_source("setup", "config_records[MAIN_CONFIGS_RECORD]", "cfg[WorkflowKey.CURRENT_ROUND]")
    _stage_source("setup", "array_records[MAIN_PARAMS_RECORD]")


def _workflow_log() -> None:
    workflow = found("flwr.server.workflow:SecAggPlusWorkflow")
    assert workflow.__module__ == WORKFLOW
    assert found(f"{WORKFLOW}:log") == found("flwr.common.logger:log")


def _public_key_bytes() -> None:
    module = found("flwr.supercore.primitives.asymmetric")
    _, public = module.generate_key_pairs()
    read = module.bytes_to_public_key(module.public_key_to_bytes(public))
    assert read.public_numbers() == public.public_numbers()


SECURE_AGGREGATION = [
    Reliance(
        f"{CONSTANTS}.Key",
        "check and change what stages send",
        lambda: has(f"{CONSTANTS}:Key", *KEYS),
        ("SecAggKey",),
    ),
    Reliance(
        f"{CONSTANTS}.Stage",
        "know the stage of a message",
        lambda: has(f"{CONSTANTS}:Stage", "SETUP", "COLLECT_MASKED_VECTORS", "UNMASK"),
        ("SecAggStage",),
    ),
    Reliance(
        f"{CONSTANTS}.RECORD_KEY_CONFIGS, and the curve of the keys in it",
        "tell messages of secure aggregation from others, and good keys from bad ones",
        _public_keys,
        ("RECORD_KEY_CONFIGS",),
    ),
    Reliance(
        "flwr.client.mod.secaggplus_mod and the state that it keeps",
        "mask updates within the terms agreed on, and forget the secrets of a round",
        _state,
        ("secaggplus_mod", "RECORD_KEY_STATE", "SecAggTerms", "agreed_terms"),
    ),
    Reliance(
        "flwr.supercore.primitives.asymmetric.bytes_to_public_key",
        "refuse a damaged public key",
        _public_key_bytes,
        ("bytes_to_public_key",),
    ),
    Reliance("the form of key shares", "refuse a damaged share", _shares),
    Reliance("the error of a wrong key", "say that a share cannot be decrypted", _wrong_key),
    Reliance(
        "flwr.common.secure_aggregation.quantization.quantize",
        "round repeatably, by NumPy's global generator, to 32 bits",
        _rounding,
    ),
    Reliance(
        "flwr.server.workflow.SecAggPlusWorkflow",
        "run the stages of the protocol one by one",
        _workflow,
        ("SecAggPlusWorkflow",),
    ),
    Reliance(
        "what SecAggPlusWorkflow calls of strategy and grid",
        "stand in for both with its own",
        _stand_in_strategy,
    ),
    Reliance(
        "the rounding of SecAggPlusWorkflow's reconstruction threshold",
        "ask for all shares where that is set",
        _threshold,
    ),
    Reliance(
        f"{WORKFLOW}.WorkflowState",
        "see who is left between the stages",
        _workflow_state,
        ("WorkflowState",),
    ),
    Reliance(
        "flwr.server.workflow.constant",
        "tell the stages the round",
        _context_records,
        ("MAIN_CONFIGS_RECORD", "MAIN_PARAMS_RECORD", "WorkflowKey"),
    ),
    Reliance(
        "the module that SecAggPlusWorkflow logs from",
        "keep its lines out of the log",
        _workflow_log,
    ),
]
