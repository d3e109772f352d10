"""The doctor's check of a participant's own table."""

from collections.abc import Iterator
from pathlib import Path

from fl_app.core.errors import ConfigError, DataError
from fl_app.core.run_config import DEFAULTS
from fl_app.tasks.own_tables.inspection import inspect_table
from fl_app.tasks.own_tables.table_task import TableTask
from fl_app.tasks.registry import build_task
from scripts.diagnostics.report import Finding, fail, ok, warn


def check_table(data: Path, test_data: Path | None, task: str) -> Iterator[Finding]:
    """Read tables as a run would, and say what they hold.

    Args:
        data: A CSV or Parquet file.
        test_data: Another one to evaluate on, if there is one.
        task: As the run config says it, `table(target='...', ...)`.
    """
    try:
        built = build_task(task, DEFAULTS)
    except ConfigError as error:
        yield fail("task", str(error))
        return
    if not isinstance(built, TableTask):
        yield fail("task", f"{task!r} is not the task table; its data cannot be checked here")
        return
    for name, path in (("data", data), ("test data", test_data)):
        if path is None:
            continue
        try:
            found = inspect_table(path, built.options)
        except DataError as error:
            yield fail(name, str(error))
            continue
        yield ok(name, f"{found.rows} rows with a target: {found.targets}")
        yield ok("columns", "\n" + "\n".join(found.columns))
        for remark in found.remarks:
            yield warn(name, f"{remark}. Is that so?")
