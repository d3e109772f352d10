from pathlib import Path

from scripts.launcher.app_bundle import stage_app
from tests.scripts.launcher.toy_app import APP_CONFIG


def test_only_what_the_app_consists_of_is_staged(app: Path, tmp_path: Path) -> None:
    assert stage_app(app, tmp_path / "staged") == app

    config = APP_CONFIG.replace('"toy"\n[tool', '"toy"\nfab-include = ["toy/**/*.py"]\n[tool')
    (app / "pyproject.toml").write_text(config, encoding="utf-8")
    for name in ("toy/a.py", "toy/deep/b.py", ".venv/toy/c.py"):
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).touch()

    staged = stage_app(app, tmp_path / "staged")

    files = {path.relative_to(staged).as_posix() for path in staged.rglob("*") if path.is_file()}
    assert files == {"pyproject.toml", "toy/a.py", "toy/deep/b.py"}
