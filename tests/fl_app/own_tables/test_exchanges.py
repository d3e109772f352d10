"""What participants tell of their tables, and what comes of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fl_app.core.errors import ConfigError, DataError, UserError
from fl_app.data.table_files.cells import Table
from fl_app.tasks.agreement import Merged, Statistics, merge_statistics
from fl_app.tasks.own_tables.exchanges import answer
from fl_app.tasks.own_tables.table_agreement import TableAgreement
from fl_app.tasks.own_tables.table_task import TableTask


def table(name: str = "north", **columns: Any) -> Table:
    cells = {
        column: [None if value is None else str(value) for value in values]
        for column, values in columns.items()
    }
    return Table(Path(f"{name}.csv"), cells, range(2, 2 + len(next(iter(cells.values())))))


def task_for(**options: Any) -> TableTask:
    return TableTask(**{"target": "ill", "classes": "no,yes", **options})


def agree(task: TableTask, *tables: Table) -> TableAgreement:
    """Let tables answer until all is agreed, all rows being for training."""
    while (asked := task.to_agree()) is not None:
        answers = [answer(t, np.arange(len(t)), task._agreement, task.options) for t in tables]
        assert all(one.sums.shape == (asked.num_sums,) for one in answers)
        task.take_agreement(task.agree(merge_statistics(answers)))
    return task._agreement


def test_means_and_deviations_are_those_of_all_rows_together() -> None:
    random = np.random.default_rng(0)
    values = 1e9 + random.normal(size=100)  # far from 0: a sum of squares would lose all digits
    tables = [table(t=map(repr, part.tolist())) for part in np.split(values, [10, 40])]
    agreed = agree(task_for(numeric="t"), *tables)
    assert agreed.means["t"] == pytest.approx(values.mean(), rel=1e-15)
    assert agreed.deviations["t"] == pytest.approx(values.std(), rel=1e-6)


def test_missing_values_count_for_nothing() -> None:
    agreed = agree(task_for(numeric="t"), table(t=[1, 2, 3, 4, 5, None, None]))
    assert agreed.means == {"t": 3.0}
    assert agreed.deviations == {"t": pytest.approx(np.sqrt(2))}


@pytest.mark.parametrize("value", [7.1, 0.0, 1e-9])
def test_a_column_of_equal_numbers_has_the_deviation_1(value: float) -> None:
    assert agree(task_for(numeric="t"), table(t=[value] * 9)).deviations == {"t": 1.0}


def test_deviations_may_be_small() -> None:
    values = [1e-9, 2e-9, 3e-9, 4e-9, 5e-9]
    agreed = agree(task_for(numeric="t"), table(t=values))
    assert agreed.deviations["t"] == pytest.approx(np.std(values), rel=1e-9)


def test_with_a_range_numbers_beyond_it_count_as_its_ends() -> None:
    agreed = agree(task_for(numeric="t", ranges="t:0:10"), table(t=[-5, 0, 5, 10, 99, None]))
    assert agreed.means["t"] == pytest.approx(5.0)
    assert agreed.deviations["t"] == pytest.approx(np.std([0, 0, 5, 10, 10]))


def test_with_a_range_sums_are_within_the_number_of_rows() -> None:
    task, rows = task_for(numeric="t", ranges="t:0:10"), table(t=[-5, 0, 5, 10, 99, 10, 10])
    first = answer(rows, np.arange(7), task._agreement, task.options)
    assert np.abs(first.sums).max() <= 7
    task.take_agreement(task.agree(merge_statistics([first])))
    second = answer(rows, np.arange(7), task._agreement, task.options)
    assert np.abs(second.sums).max() <= 7


def test_of_few_rows_nothing_is_told() -> None:
    task = task_for(numeric="t", categorical="c")
    rows = table(t=[1, 2, 3, 4, *[None] * 6], c=["rare"] * 4 + ["often"] * 6)
    told = answer(rows, np.arange(10), task._agreement, task.options)
    assert told.sums.tolist() == [0.0, 0.0]
    assert told.words == {"c": ["often"]}
    with pytest.raises(DataError, match=r"north\.csv: 4 rows to train on"):
        answer(rows, np.arange(4), task._agreement, task.options)


def test_a_column_that_may_hold_names_is_not_told() -> None:
    names = table(c=[f"person {index}" for index in range(60)])
    for task in (task_for(categorical="c"), task_for()):
        with pytest.raises(DataError, match=r"column 'c': 60 different values"):
            answer(names, np.arange(60), task._agreement, task.options)
    hashed = task_for(categorical="c", buckets=4)
    assert hashed.to_agree() is None


def test_a_column_is_of_numbers_where_it_is_for_all() -> None:
    first = table("north", a=[1] * 6, b=[1] * 6, c=[None] * 6, d=[1] * 6, ill=["no"] * 6)
    second = table("south", d=["x"] * 6, c=[2] * 6, a=[3] * 6, ill=["no"] * 6)
    agreed = agree(task_for(), first, second)
    assert (agreed.numeric, agreed.categorical) == (("a", "c"), ("d",))
    assert agreed.categories == {"d": ("1", "x")}


def test_a_column_of_numbers_at_some_and_texts_at_others_is_told_to_the_server(
    flower_log: pytest.LogCaptureFixture,
) -> None:
    one, other = table(dose=[*range(9)], age=[5] * 9), table(dose=["none", *range(8)], age=[5] * 9)
    agreed = agree(task_for(), one, other)
    assert agreed.categorical == ("dose",)
    assert "count as categories for all: ['dose']" in flower_log.text
    assert "none'" not in flower_log.text


def test_tables_without_a_common_column_are_refused() -> None:
    with pytest.raises(UserError, match=r"no column in common .* a, b"):
        agree(task_for(), table(a=[1] * 5, ill=["no"] * 5), table(b=[1] * 5, ill=["no"] * 5))


def test_too_many_categories_together_are_refused() -> None:
    task = task_for(categorical="c")
    many = {"c": {f"word {index}": 1 for index in range(1001)}}
    with pytest.raises(UserError, match="'c' has 1001 categories"):
        task.agree(Merged(40, 4000, np.zeros(0), many))


def test_an_agreement_survives_its_text() -> None:
    agreed = agree(
        task_for(numeric="t", categorical="c"), table(t=[0.1, 0.2, 0.7, 4, 5], c=["x"] * 5)
    )
    task = task_for(numeric="t", categorical="c")
    task.restore({"agreement": agreed.encode()})
    assert task._agreement == agreed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"numeric": "t", "categorical": [], "means": {}, "deviations": {}, "categories": {}}',
        '{"numeric": ["t"], "categorical": [], "means": {"t": NaN}, "deviations": {"t": 1}, '
        '"categories": {}}',
        '{"numeric": ["t"], "categorical": [], "means": {"t": 0}, "deviations": {"t": 0}, '
        '"categories": {}}',
        '{"numeric": ["ill"], "categorical": [], "means": {"ill": 0}, "deviations": {"ill": 1}, '
        '"categories": {}}',
        '{"numeric": [], "categorical": ["id"], "means": {}, "deviations": {}, "categories": {}}',
    ],
)
def test_an_agreement_that_is_none_or_uses_what_is_left_out_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="agree"):
        task_for(ignore="id").take_agreement(text)


def test_exact_sums_do_not_depend_on_order() -> None:
    values = [1e16, 1.0, -1e16, 3.0]
    many = [Statistics(1, np.array([value])) for value in values]
    assert merge_statistics(many).sums == merge_statistics(many[::-1]).sums == [4.0]
