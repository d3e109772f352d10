"""Tables of three hospitals that hold the same columns in different orders and ways of writing."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

OPTIONS = "target='ill', classes='no,yes', ignore='patient'"
COLUMNS = "numeric='age,dose', categorical='sex'"
TASK = f"table({OPTIONS}, {COLUMNS}, hidden=8)"

_ORDERS = {
    "north": ["patient", "age", "dose", "sex", "ill"],
    "south": ["ill", "sex", "patient", "dose", "age"],
    "west": ["dose", "extra", "ill", "age", "sex", "patient"],
}


def rows_of(name: str, count: int = 60) -> list[dict[str, str]]:
    """Rows in which whoever is old or male is mostly ill; some ages and sexes are missing."""
    random = np.random.default_rng(list(_ORDERS).index(name))
    rows = []
    for index in range(count):
        age, male = random.normal(50, 12), bool(random.integers(2))
        ill = (age - 50) / 12 + (1.0 if male else -1.0) + 0.3 * random.normal() > 0
        rows.append(
            {
                "patient": f"{name}-secret-{index}",
                "age": "" if index % 11 == 0 else f"{age:.3f}",
                "dose": f"{1000 * random.random():.3f}",
                "sex": "" if index % 13 == 0 else "male" if male else "female",
                "extra": "x",
                "ill": "yes" if ill else "no",
            }
        )
    return rows


def write(path: Path, rows: Sequence[dict[str, str]], columns: Sequence[str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def hospitals(folder: Path, count: int = 60) -> list[dict[str, Any]]:
    """Write a table for each hospital; return the config of each one's node."""
    return [
        {
            "name": name,
            "data": str(write(folder / f"{name}.csv", rows_of(name, count), columns)),
            "state-dir": str(folder / "state"),
        }
        for name, columns in _ORDERS.items()
    ]


def own_config(config: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """A run config for the three hospitals."""
    small = {"dataset": "own", "task": TASK, "learning-rate": 0.3, "local-epochs": 3}
    return config | small | {key.replace("_", "-"): value for key, value in settings.items()}
