"""Rounds as rows of `metrics.jsonl`, and back."""

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

from fl_app.results.records import ParticipantReport, RoundReport, Score

SCHEMA_VERSION = 1
_SCORES = ("central", "federated")
_NOT_ALWAYS_THERE = (
    "epsilon",
    "clip_norm",
    "unchanged",
    "train_metrics",
)  # earlier releases did not write them


def round_rows(report: RoundReport) -> Iterator[dict[str, Any]]:
    """Turn a round into rows of `metrics.jsonl`.

    The first row has `"kind": "round"` and the fields of `RoundReport`; then comes one with
    `"kind": "participant"` and the fields of `ParticipantReport` for everybody who was asked
    to train. Losses are in nats, times in seconds; what is unknown or not finite is null.
    """
    fields = dataclasses.asdict(report)
    participants = fields.pop("participants")
    for name in _SCORES:
        score = getattr(report, name)
        fields[name] = None if score is None else score.as_row()
    head = {"schema": SCHEMA_VERSION, "kind": "round", "seconds": report.seconds}
    yield finite_or_null(head | fields)
    for participant in participants:
        head = {"schema": SCHEMA_VERSION, "kind": "participant"}
        yield finite_or_null(head | {"server_round": report.server_round} | participant)


def encode_round(report: RoundReport) -> str:
    """Return the lines of `metrics.jsonl` for a round, each ended by a line break."""
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in round_rows(report))


def decode_rounds(lines: Iterable[str]) -> list[RoundReport]:
    """Undo `encode_round` for the lines of a whole file.

    Raises:
        ValueError: If a line is not such a row, or a round's row is missing.
    """
    reports: list[RoundReport] = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            if row["schema"] != SCHEMA_VERSION:
                raise ValueError(f"its schema is {row['schema']}, {SCHEMA_VERSION} is known")
            if row["kind"] == "round":
                reports.append(_decode_round(row))
            else:
                last = reports[-1]
                if row["server_round"] != last.server_round:
                    raise ValueError(f"its round is {row['server_round']}")
                participants = (*last.participants, _decode(ParticipantReport, row))
                reports[-1] = dataclasses.replace(last, participants=participants)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ValueError(f"line {number} cannot be read: {error}") from error
    return reports


def _decode_round(row: dict[str, Any]) -> RoundReport:
    scores = {name: row[name] and Score.from_row(row[name]) for name in _SCORES}
    report: RoundReport = _decode(RoundReport, row | scores | {"participants": ()})
    return report


def _decode(report_class: Any, row: dict[str, Any]) -> Any:  # noqa: ANN401 - one of two classes
    names = [field.name for field in dataclasses.fields(report_class)]
    if row.get("train_accuracy") is not None:  # as earlier releases wrote it
        row = row | {"train_metrics": {"accuracy": row["train_accuracy"]}}
    return report_class(
        **{name: row[name] for name in names if name in row or name not in _NOT_ALWAYS_THERE}
    )


def finite_or_null(value: Any) -> Any:  # noqa: ANN401 - walks any JSON value
    """Return a JSON value with null for every number that JSON cannot express."""
    if isinstance(value, dict):
        return {key: finite_or_null(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
