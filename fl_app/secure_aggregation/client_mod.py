"""A participant's side of secure aggregation: Flower's mod, when the server asks for it.

Flower's `secaggplus_mod` is the protocol: keys, shares, masks. What is added here: a message that
has nothing to do with it passes untouched; a server that asks for the delta in the clear after
all, or for a weaker protocol, is refused; what would saturate is refused; masked values travel in
four bytes, not eight; rounding is repeatable; and the secrets of a round do not outlive it.
"""

from typing import Any, cast

import numpy as np
from cryptography.fernet import InvalidToken
from flwr.app import ConfigRecord, Context, Message
from flwr.common import bytes_to_ndarray, ndarray_to_bytes, ndarrays_to_parameters

from fl_app.core.errors import UserError
from fl_app.core.node import participant_name
from fl_app.core.run_config import RunConfig
from fl_app.core.seeding import Stream, numpy_generator
from fl_app.messaging.flower_compat import (
    FIT_PARAMETERS_RECORD,
    RECORD_KEY_CONFIGS,
    RECORD_KEY_STATE,
    ClientAppCallable,
    SecAggKey,
    SecAggStage,
    agreed_terms,
    parameters_to_arrayrecord,
    recorddict_to_fitres,
    secaggplus_mod,
)
from fl_app.messaging.transport import MessageType
from fl_app.secure_aggregation.fixed_point import MODULUS
from fl_app.secure_aggregation.settings import MIN_PARTICIPANTS, check_value, secure_settings
from strategies.core.npy import decode_arrays


class SecureAggregationRefused(UserError):  # noqa: N818 - the participant is in the right
    """The server asked for something that would expose or distort this participant's delta."""


def secure_aggregation(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Do a stage of secure aggregation if the message is one, and else nothing at all.

    Raises:
        SecureAggregationRefused: If a delta would travel in the clear in a run with secure
            aggregation, the protocol is weaker than the run config says, or a value or the
            number of examples is out of range.
    """
    if message.metadata.message_type != MessageType.TRAIN:
        return call_next(message, context)
    if RECORD_KEY_CONFIGS not in message.content.config_records:
        if context.run_config.get("secure-aggregation", False):
            raise SecureAggregationRefused(
                "the server asks for the delta in the clear, but secure-aggregation is on"
            )
        return call_next(message, context)
    stage = message.content.config_records[RECORD_KEY_CONFIGS].get(SecAggKey.STAGE)
    _check_stage(stage, message.content.config_records[RECORD_KEY_CONFIGS], context)

    def work(inner: Message, inner_context: Context) -> Message:
        return _for_the_masks(call_next(inner, inner_context), inner, inner_context)

    random_state = np.random.get_state()  # Flower rounds by NumPy's global generator
    try:
        reply = secaggplus_mod(message, context, work)
    except InvalidToken as error:
        raise SecureAggregationRefused(
            "somebody's share of its keys cannot be decrypted, so its mask could not be taken back"
        ) from error
    finally:
        np.random.set_state(random_state)
    if stage == SecAggStage.COLLECT_MASKED_VECTORS:
        _pack(reply.content.config_records[RECORD_KEY_CONFIGS])
    if stage == SecAggStage.UNMASK:  # whoever asks twice would learn both kinds of secret
        del context.state.config_records[RECORD_KEY_STATE]
    return reply


def _check_stage(stage: object, asked: ConfigRecord, context: Context) -> None:
    """Refuse a stage that would let the server see more than a sum."""
    if stage == SecAggStage.SETUP:
        settings = secure_settings(RunConfig.from_run_config(context.run_config))
        if settings is None:
            raise SecureAggregationRefused(
                "the server asks for secure aggregation, which is off in the run config"
            )
        terms: Any = asked
        sampled = terms[SecAggKey.SAMPLE_NUMBER]
        needed = (settings.num_shares(sampled), settings.num_needed(sampled))
        if sampled < MIN_PARTICIPANTS or terms[SecAggKey.MOD_RANGE] != MODULUS:
            raise SecureAggregationRefused(
                f"the server asks for secure aggregation among {sampled} participants modulo "
                f"{terms[SecAggKey.MOD_RANGE]}; it takes {MIN_PARTICIPANTS}, and {MODULUS}"
            )
        if needed != (terms[SecAggKey.SHARE_NUMBER], terms[SecAggKey.THRESHOLD]):
            raise SecureAggregationRefused(
                f"the server asks for {terms[SecAggKey.THRESHOLD]} of "
                f"{terms[SecAggKey.SHARE_NUMBER]} shares to unmask; by the run config it is "
                f"{needed[1]} of {needed[0]}"
            )
    if stage == SecAggStage.UNMASK:
        alive = set(cast(list[int], asked.get(SecAggKey.ACTIVE_NODE_ID_LIST, [])))
        if alive & set(cast(list[int], asked.get(SecAggKey.DEAD_NODE_ID_LIST, []))):
            raise SecureAggregationRefused(
                "the server calls a participant both alive and gone, which would unmask it"
            )


def _for_the_masks(reply: Message, message: Message, context: Context) -> Message:
    """Put the delta into the form that Flower's mod is to mask, unless it would saturate.

    It becomes one vector of float64, since rounding to whole numbers by float32 is coarser than
    the range, with a value that the server knows at its end: see `check_value`.
    """
    result = recorddict_to_fitres(reply.content, keep_input=True)
    agreed = agreed_terms(context)
    if result.num_examples > agreed.max_weight:
        raise SecureAggregationRefused(
            f"there are {result.num_examples} examples here, more than the "
            f"{agreed.max_weight:g} that were announced as the most of all"
        )
    delta = decode_arrays(result.parameters.tensors)
    reach = agreed.clipping_range
    values = [np.ravel(array).astype(np.float64) for array in delta]
    vector = np.concatenate([*values, [check_value(reach)]])
    if not np.abs(vector).max() <= reach:  # written so that NaN is refused as well
        raise SecureAggregationRefused(
            f"a value of the delta is further from 0 than {reach:g}, the range of secure "
            "aggregation: it would be cut off in silence"
        )
    reply.content.array_records[FIT_PARAMETERS_RECORD] = parameters_to_arrayrecord(
        ndarrays_to_parameters([vector]), keep_input=False
    )
    np.random.seed(_rounding_seed(message, context))
    return reply


def _rounding_seed(message: Message, context: Context) -> int:
    config = RunConfig.from_run_config(context.run_config)
    name = participant_name(context.node_config, config)
    server_round = int(message.metadata.group_id)
    generator = numpy_generator(Stream.SECURE_ROUNDING, config.seed, server_round, name)
    return int(generator.integers(2**32))


def _pack(answer: ConfigRecord) -> None:
    """Store masked values, which are less than 2**32, in four bytes each."""
    masked = cast(list[bytes], answer[SecAggKey.MASKED_PARAMETERS])
    answer[SecAggKey.MASKED_PARAMETERS] = [
        ndarray_to_bytes(bytes_to_ndarray(array).astype(np.uint32)) for array in masked
    ]
