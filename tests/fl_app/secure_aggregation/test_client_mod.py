"""The participant's side: what it does, and what it refuses to do."""

from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS
from flwr.supercore.task_identity import TaskIdentity

from fl_app.secure_aggregation.client_mod import SecureAggregationRefused, secure_aggregation

TERMS: dict[str, Any] = {
    "stage": "setup",
    "sample_num": 5,
    "share_num": 5,
    "threshold": 3,
    "clipping_range": 1.0,
    "target_range": 1000,
    "mod_range": 2**32,
    "max_weight": 10.0,
}


def instruction(configs: dict[str, Any] | None, message_type: str = "train") -> Message:
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 0
    content = RecordDict()
    if configs is not None:
        content[RECORD_KEY_CONFIGS] = ConfigRecord(configs)
    return Message(content, dst_node_id=2, message_type=message_type, group_id="1")


def context_of(run_config: dict[str, Any], secure: bool = True) -> Context:
    node: dict[str, Any] = {"partition-id": 0, "num-partitions": 3}
    return Context(1, 2, node, RecordDict(), run_config | {"secure-aggregation": secure})


def never(message: Message, context: Context) -> Message:
    raise AssertionError("it was passed on")


@pytest.mark.parametrize("message_type", ["train", "evaluate", "get_properties"])
def test_what_the_server_does_not_ask_to_mask_passes_untouched(run_config, message_type):
    message, context = instruction(None, message_type), context_of(run_config, secure=False)
    answer = Message(RecordDict(), reply_to=message)
    seen = []

    def pass_on(message: Message, context: Context) -> Message:
        seen.append((message, context))
        return answer

    assert secure_aggregation(message, context, pass_on) is answer
    assert seen == [(message, context)]
    assert not message.content
    assert not context.state


def test_a_delta_is_not_sent_in_the_clear_where_masks_were_agreed_on(run_config):
    with pytest.raises(SecureAggregationRefused, match="delta in the clear"):
        secure_aggregation(instruction(None), context_of(run_config), never)


def test_evaluation_in_the_clear_goes_on(run_config):
    message = instruction(None, "evaluate")
    answer = Message(RecordDict(), reply_to=message)
    assert secure_aggregation(message, context_of(run_config), lambda *_: answer) is answer


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sample_num": 2, "share_num": 2, "threshold": 2}, "among 2 participants"),
        ({"mod_range": 2**16}, "modulo 65536"),
        ({"threshold": 2}, "2 of 5 shares to unmask; by the run config it is 3 of 5"),
        ({"share_num": 3, "threshold": 2}, "2 of 3 shares"),
    ],
)
def test_a_weaker_protocol_than_agreed_is_refused(run_config, change, reason):
    with pytest.raises(SecureAggregationRefused, match=reason):
        secure_aggregation(instruction(TERMS | change), context_of(run_config), never)


def test_masks_that_nobody_agreed_on_are_refused(run_config):
    with pytest.raises(SecureAggregationRefused, match="off in the run config"):
        secure_aggregation(instruction(TERMS), context_of(run_config, secure=False), never)


def test_who_is_called_both_alive_and_gone_is_not_unmasked(run_config):
    asked = {"stage": "unmask", "active_nids": [2, 7, 9], "dead_nids": [9]}
    with pytest.raises(SecureAggregationRefused, match="both alive and gone"):
        secure_aggregation(instruction(asked), context_of(run_config), never)


def test_a_stage_out_of_turn_is_refused(run_config):
    asked = {"stage": "unmask", "active_nids": [2, 7, 9], "dead_nids": []}
    context = context_of(run_config)
    secure_aggregation(instruction(TERMS), context, never)
    with pytest.raises(ValueError, match="expect share_keys stage"):
        secure_aggregation(instruction(asked), context, never)


def test_numpys_global_generator_is_left_as_it_was(run_config):
    np.random.seed(3)
    expected = np.random.RandomState(3).rand(4)
    secure_aggregation(instruction(TERMS), context_of(run_config), never)
    assert np.random.rand(4).tolist() == expected.tolist()
