"""The tasks that come with the project, federated, pooled and local-only, side by side.

    python -m scripts.studies.side_by_side --output docs

Runs that `side-by-side.json` there already holds are not run again. The settings are those of the
presets. `--page` writes the table into docs/tasks-included.md.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from scripts.docgen.marked_tables import write_table
from scripts.launcher.options import plan_launch
from scripts.repository import REPOSITORY, default_run_config

DOCUMENT, NAME, FILE = "docs/tasks-included.md", "side-by-side", "side-by-side.json"
PRESETS = ("shakespeare", "heart-disease", "breast-cancer", "credit", "course-ratings")
SEEDS = (42, 43, 44)

Key = tuple[str, str, int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parse(arguments)
    path = options.output / FILE
    found = _earlier(path)
    from scripts.studies.arms import ARMS

    wanted = [(t, arm, s) for s in SEEDS for t in options.tasks for arm in ARMS]
    missing = [key for key in wanted if key not in found]
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        running = {pool.submit(run_once, *key): key for key in missing}
        for future in as_completed(running):
            key = running[future]
            found[key] = future.result()
            print(*key, found[key]["scores"], file=sys.stderr, flush=True)
            _write(path, found)
    print(table(found))
    if options.page:
        write_table(DOCUMENT, NAME, table(found))
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs", metavar="DIR")
    parser.add_argument("--tasks", nargs="+", choices=PRESETS, default=PRESETS)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time")
    parser.add_argument("--page", action="store_true", help=f"write the table into {DOCUMENT}")
    return parser.parse_args(arguments)


def settings_of(preset: str) -> dict[str, Any]:
    """Return the run-config keys that a preset sets; where results go is not among them."""
    settings = dict(plan_launch(["--preset", preset], Path.cwd()).overrides)
    del settings["output-dir"]
    return settings


def run_once(preset: str, arm: Any, seed: int) -> dict[str, Any]:  # noqa: ANN401 - an `Arm`
    """Learn one task in one way, with one seed, in this process."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    from scripts.studies.arms import score

    torch.set_num_threads(1)
    settings = settings_of(preset)
    config = {**default_run_config(), **settings, "seed": seed}
    return {"settings": settings, "scores": score(arm, config)}


def _earlier(path: Path) -> dict[Key, dict[str, Any]]:
    """Return the results at `path` of runs with the settings of today."""
    if not path.exists():
        return {}
    rows = json.loads(path.read_text(encoding="utf-8"))["runs"]
    today = {preset: settings_of(preset) for preset in PRESETS}
    return {
        (row["task"], row["arm"], row["seed"]): {
            "settings": row["settings"],
            "scores": row["scores"],
        }
        for row in rows
        if today.get(row["task"]) == row["settings"]
    }


def _write(path: Path, found: dict[Key, dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"task": t, "arm": arm, "seed": s, **found[t, arm, s]} for t, arm, s in sorted(found)]
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps({"runs": rows}, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def table(found: dict[Key, dict[str, Any]]) -> str:
    """Return a Markdown table: mean and standard deviation over the seeds, a row per metric."""
    from scripts.studies.arms import ARMS

    lines = [f"| task | metric | {' | '.join(ARMS)} |", "| --- | --- |" + " --- |" * len(ARMS)]
    for preset in PRESETS:
        scores = {
            arm: [found[key]["scores"] for s in SEEDS if (key := (preset, arm, s)) in found]
            for arm in ARMS
        }
        if not all(scores.values()):
            continue
        for metric in scores["federated"][0]:
            cells = [_mean([one[metric] for one in scores[arm]]) for arm in ARMS]
            lines.append(f"| {preset} | {metric} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _mean(values: Sequence[float]) -> str:
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.4f}"
    return f"{mean:.4f} ± {statistics.stdev(values):.4f}"


if __name__ == "__main__":
    sys.exit(main())
