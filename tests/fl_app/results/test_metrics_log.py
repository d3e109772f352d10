import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_app.results.metrics_log import decode_rounds, encode_round, round_rows
from fl_app.results.records import ParticipantReport, RoundReport, Score

numbers = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 2**40)
maybe = st.none() | numbers
names = st.text().filter(lambda name: name not in ("loss", "num_examples"))
metrics = st.dictionaries(names, numbers, max_size=3)
scores = st.none() | st.builds(Score, numbers, metrics, counts)
participants = st.builds(
    ParticipantReport,
    participant=st.text(),
    failure=st.none() | st.text(),
    num_examples=st.none() | counts,
    train_loss=maybe,
    train_metrics=metrics,
    update_norm=maybe,
    train_seconds=maybe,
    round_trip_seconds=maybe,
    bytes_up=counts,
    bytes_down=counts,
)
reports = st.builds(
    RoundReport,
    server_round=st.integers(0, 1000),
    aggregated=st.booleans(),
    relative_update=maybe,
    central=scores,
    federated=scores,
    train_loss=maybe,
    train_metrics=metrics,
    epsilon=maybe,
    clip_norm=maybe,
    participants=st.lists(participants, max_size=3).map(tuple),
    evaluation_failures=st.dictionaries(st.text(), st.text(), max_size=2),
    bytes_up=counts,
    bytes_down=counts,
    fit_seconds=numbers,
    evaluate_seconds=numbers,
)


@given(st.lists(reports, max_size=3))
def test_decoding_undoes_encoding(history):
    text = "".join(map(encode_round, history))
    assert decode_rounds(text.splitlines(keepends=True) if "\n" in text else []) == history


def test_rows_of_releases_that_knew_no_privacy_are_read():
    (row,) = round_rows(RoundReport(3, train_loss=0.5))
    del row["epsilon"], row["clip_norm"]

    assert decode_rounds([json.dumps(row)]) == [RoundReport(3, train_loss=0.5)]


def test_a_line_is_strict_json_with_null_for_what_is_not_finite():
    report = RoundReport(1, central=Score(math.nan, {"accuracy": math.inf}), train_loss=-math.inf)
    (row,) = round_rows(report)
    assert row["central"] == {"loss": None, "accuracy": None, "num_examples": 0}
    assert row["train_loss"] is None
    json.loads(encode_round(report), parse_constant=pytest.fail)


def test_a_loss_that_was_not_finite_is_read_back_as_nan():
    (decoded,) = decode_rounds(
        [encode_round(RoundReport(1, central=Score(math.inf, {"accuracy": 0.1})))]
    )
    assert decoded.central is not None
    assert math.isnan(decoded.central.loss)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"schema": 1, "ki', "line 1 cannot be read"),
        ('{"schema": 99, "kind": "round"}', "schema is 99"),
        ('{"schema": 1, "kind": "participant", "server_round": 1}', "line 1"),
        ('{"schema": 1, "kind": "round", "server_round": 1}', "line 1"),
        ("[]", "line 1"),
    ],
)
def test_a_damaged_line_is_refused_by_number(text, reason):
    with pytest.raises(ValueError, match=reason):
        decode_rounds([text])
