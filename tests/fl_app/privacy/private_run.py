"""What a private run left in its files, and what its participants sent."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flwr.app import Error, Message

from fl_app.client_app import app as client_app
from scripts.harness.in_process_grid import InProcessGrid
from strategies.core.client_update import Arrays
from strategies.core.vectors import euclidean_norm
from strategies.privacy.accountant import epsilon_of

DELTA = 1e-5
Z = 2.0


def rows(directory: Path, kind: str = "round") -> list[dict[str, Any]]:
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]


def spent(directory: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads((directory / "privacy.json").read_text())["sum of 1/z^2"]
    return found


def releases(count: float) -> float:
    """Epsilon after so many releases."""
    return epsilon_of(count * Z**-2, DELTA)


@dataclass(frozen=True)
class Sent:
    """What a participant sent; copied, because the server consumes it."""

    delta: Arrays
    metrics: dict[str, Any]
    num_examples: dict[str, Any]

    @property
    def norm(self) -> float:
        return euclidean_norm(self.delta)


def watching(
    config: dict[str, Any], meddle: Callable[[Message], None] = lambda message: None
) -> tuple[InProcessGrid, list[Sent]]:
    """A grid, and every reply to training that goes over it."""
    replies: list[Sent] = []

    def watch(message: Message, reply: Callable[[], Message]) -> Message:
        if message.metadata.message_type != "train":
            return reply()
        meddle(message)
        answer = reply()
        content = answer.content
        arrays = content.array_records["fitres.parameters"].values()
        replies.append(
            Sent(
                [array.numpy() for array in arrays],
                dict(content.config_records["fitres.metrics"]),
                dict(content.metric_records["fitres.num_examples"]),
            )
        )
        return answer

    return InProcessGrid(client_app, config, 3, faults=dict.fromkeys(range(3), watch)), replies


def lost(message: Message, reply: Callable[[], Message]) -> Message:
    if message.metadata.message_type == "train":
        return Message(Error(3, "lost"), reply_to=message)
    return reply()
