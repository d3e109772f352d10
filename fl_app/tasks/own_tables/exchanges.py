"""The exchanges by which tables come to be prepared alike: questions, sums, and what follows.

There are up to three: which columns there are, where the options name none; then counts and sums of
the columns of numbers, and the categories of the others; then squared differences from the means
that came of it. The two passes keep deviations exact where they are small beside the means.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from logging import WARNING

import numpy as np
from flwr.common.logger import log
from numpy.typing import NDArray

from fl_app.core.errors import DataError, UserError
from fl_app.data.table_files.cells import Table
from fl_app.data.table_files.numbers import are_numbers, read_numbers
from fl_app.tasks.agreement import Merged, Question, Statistics
from fl_app.tasks.own_tables.options import TableOptions, canonical
from fl_app.tasks.own_tables.rows import IntArray
from fl_app.tasks.own_tables.table_agreement import TableAgreement

FEWEST_ROWS = 5
"""What fewer rows of a participant have is not told: their sum would nearly be their values."""

MOST_CATEGORIES = 50
"""Of a participant's column; one with more may hold names or numbers of people."""

_MOST_TOGETHER = 1000

_LEAST_SHARE = 1e-3
"""Of the range that is told, the least deviation."""

_NUMERIC, _CATEGORICAL, _EMPTY = "numeric", "categorical", "empty"


def question(agreement: TableAgreement, options: TableOptions) -> Question | None:
    """Return what is to be asked next; `None` where all is known."""
    if agreement.numeric is None:
        return Question(
            "the columns, by numeric='...' and categorical='...', and what follows from them, by "
            "moments='column:mean:deviation,...' and categories='column:a|b|c,...'",
            0,
            "name the columns by numeric='...' and categorical='...'",
        )
    numbers = agreement.without_means(options)
    names = agreement.without_categories(options)
    if not numbers and not names:
        numbers = agreement.without_deviations(options)
        if not numbers:
            return None
    return Question(
        _to_tell(agreement.without_deviations(options), names),
        2 * len(numbers),
        _to_tell_under_masks([name for name in numbers if name not in options.ranges], names),
        MOST_CATEGORIES,
    )


def _to_tell(numbers: Sequence[str], names: Sequence[str]) -> str:
    parts = []
    if numbers:
        parts.append(
            f"means and deviations of {', '.join(numbers)}, by moments='column:mean:deviation,...'"
        )
    if names:
        parts.append(
            f"categories of {', '.join(names)}, by categories='column:a|b|c,...', or a number of "
            "buckets to hash them to, by buckets=32"
        )
    return "; ".join(parts)


def _to_tell_under_masks(numbers: Sequence[str], names: Sequence[str]) -> str:
    parts = []
    if numbers:
        parts.append(
            f"the ranges of {', '.join(numbers)}, by ranges='column:least:largest,...' (or their "
            "moments)"
        )
    return "; ".join([*parts, *filter(None, [_to_tell((), names)])])


def answer(
    table: Table, train: IntArray, agreement: TableAgreement, options: TableOptions
) -> Statistics:
    """Answer the next question from the rows of a participant that are for training.

    Raises:
        DataError: If there are fewer than `FEWEST_ROWS`, a column is missing, a number is none, or
            there are more than `MOST_CATEGORIES` categories.
    """
    if len(train) < FEWEST_ROWS:
        raise DataError(
            f"{table.path}: {len(train)} rows to train on; statistics are told of {FEWEST_ROWS} or "
            "more, since of fewer they would show single values"
        )
    count = len(train)
    if agreement.numeric is None:
        return Statistics(count, np.zeros(0), _kinds(table, train, options))
    numbers = agreement.without_means(options)
    names = agreement.without_categories(options)
    if numbers or names:
        sums = [_sums(table, train, name, options) for name in numbers]
        words = {name: _categories(table, train, name) for name in names}
        return Statistics(count, _flat(sums), words)
    numbers = agreement.without_deviations(options)
    sums = [_sums(table, train, name, options, agreement.means[name]) for name in numbers]
    return Statistics(count, _flat(sums))


def _flat(sums: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    return np.array(sums, np.float64).reshape(-1)


def _sums(
    table: Table, train: IntArray, name: str, options: TableOptions, mean: float | None = None
) -> tuple[float, float]:
    """Return how many numbers there are, and their sum; with a mean, of squared differences.

    Where the range is told, numbers are brought to -1 to 1 and differences to 0 to 1 by it.
    """
    values = read_numbers(table, name).values[train]
    values = values[~np.isnan(values)]
    if len(values) < FEWEST_ROWS:
        return 0.0, 0.0
    low, high = options.ranges.get(name, (-1.0, 1.0))
    if name in options.ranges:
        values = np.clip(values, low, high)
    if mean is None:
        return float(len(values)), float(((values - (low + high) / 2) / ((high - low) / 2)).sum())
    unit = high - low if name in options.ranges else 1.0
    return float(len(values)), float((((values - mean) / unit) ** 2).sum())


def _kinds(table: Table, train: IntArray, options: TableOptions) -> dict[str, list[str]]:
    """Say which columns hold numbers, which categories, and which nothing."""
    kinds: dict[str, list[str]] = {_NUMERIC: [], _CATEGORICAL: [], _EMPTY: []}
    for name, cells in table.columns.items():
        if name in (options.target, *options.ignore):
            continue
        if all(cell is None for cell in cells):
            kinds[_EMPTY].append(name)
        elif are_numbers(cells):
            kinds[_NUMERIC].append(name)
        else:
            _categories(table, train, name)  # refuses a column of names
            kinds[_CATEGORICAL].append(name)
    return kinds


def _categories(table: Table, train: IntArray, name: str) -> list[str]:
    """Return the categories of a column, without those that few rows have."""
    cells = table.column(name)
    counts = Counter(canonical(c) for c in (cells[i] for i in train) if c is not None)
    if len(counts) > MOST_CATEGORIES:
        raise DataError(
            f"{table.path}, column {name!r}: {len(counts)} different values in {len(train)} rows; "
            f"the names of categories are told to the server, and of more than {MOST_CATEGORIES} "
            "they are not. Leave the column out of the table, let the task ignore it, or set "
            "buckets"
        )
    return sorted(category for category, rows in counts.items() if rows >= FEWEST_ROWS)


def next_agreement(
    merged: Merged, agreement: TableAgreement, options: TableOptions
) -> TableAgreement:
    """Return what is agreed on after the answers of all.

    Raises:
        UserError: If no column is common to all participants, or one has too many categories.
    """
    if agreement.numeric is None:
        return _with_columns(merged, agreement)
    numbers = agreement.without_means(options)
    names = agreement.without_categories(options)
    if numbers or names:
        found = {name: tuple(sorted(merged.words.get(name, {}))) for name in names}
        for name in names:
            if len(found[name]) > _MOST_TOGETHER:
                raise UserError(
                    f"the column {name!r} has {len(found[name])} categories over all participants, "
                    f"more than {_MOST_TOGETHER}; let the task ignore it, or set buckets"
                )
        return replace(
            agreement,
            means={**agreement.means, **dict(_means(merged, numbers, options))},
            categories={**agreement.categories, **found},
        )
    numbers = agreement.without_deviations(options)
    deviations = dict(_deviations(merged, numbers, agreement.means, options))
    return replace(agreement, deviations={**agreement.deviations, **deviations})


def _with_columns(merged: Merged, agreement: TableAgreement) -> TableAgreement:
    numeric, categorical, empty = (
        merged.words.get(kind, {}) for kind in (_NUMERIC, _CATEGORICAL, _EMPTY)
    )
    said = Counter({**numeric}) + Counter({**categorical}) + Counter({**empty})
    common = {name for name, count in said.items() if count == merged.num_participants}
    if left_out := sorted(set(said) - common):
        log(WARNING, "columns that not all participants have are not used: %s", left_out)
    if both := sorted(common & set(numeric) & set(categorical)):
        log(
            WARNING,
            "columns that hold numbers at some participants and texts at others count as "
            "categories for all: %s; a single cell that is no number makes a column one of texts. "
            "Where they are numbers, name all columns by numeric='...' and categorical='...'; "
            "such a cell is then refused by its participant, with its row",
            both,
        )
    texts = sorted(common & set(categorical))
    values = sorted(common & set(numeric) - set(categorical))
    if not texts and not values:
        raise UserError(
            "the participants' tables have no column in common beside the target and those "
            "ignored; the columns there are: " + (", ".join(sorted(said)) or "none")
        )
    return replace(agreement, numeric=tuple(values), categorical=tuple(texts))


def _means(
    merged: Merged, numbers: Sequence[str], options: TableOptions
) -> Iterator[tuple[str, float]]:
    for name, (count, total) in zip(numbers, merged.sums.reshape(-1, 2), strict=True):
        low, high = options.ranges.get(name, (-1.0, 1.0))
        # Under masks a count comes back with an error far below a half.
        mean = float(total) / round(float(count)) if round(float(count)) > 0 else 0.0
        yield name, (low + high) / 2 + mean * (high - low) / 2


def _deviations(
    merged: Merged, numbers: Sequence[str], means: Mapping[str, float], options: TableOptions
) -> Iterator[tuple[str, float]]:
    for name, (count, total) in zip(numbers, merged.sums.reshape(-1, 2), strict=True):
        rows = round(float(count))
        deviation = float(np.sqrt(max(float(total), 0.0) / rows)) if rows > 0 else 0.0
        if name in options.ranges:  # under masks a variance is exact to about 1e-8 of the range
            low, high = options.ranges[name]
            yield name, (high - low) * max(deviation, _LEAST_SHARE)
        else:  # of equal numbers, differences from their mean are rounding
            yield name, deviation if deviation > 1e-12 * abs(means[name]) else 1.0
