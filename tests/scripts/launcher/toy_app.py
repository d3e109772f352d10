"""A Flower app with a few settings, which is never run."""

from pathlib import Path

from scripts.launcher.options import LaunchPlan, plan_launch

APP_CONFIG = """
[project]
name = "toy"
version = "0.1.0"
[tool.flwr.app]
publisher = "toy"
[tool.flwr.app.components]
serverapp = "toy:server"
clientapp = "toy:client"
[tool.flwr.app.config]
num-server-rounds = 7
num-participants = 4
local-epochs = 2
learning-rate = 0.5
model = "m"
data-dir = ""
output-dir = ""
"""


def plan(app: Path, *arguments: str) -> LaunchPlan:
    return plan_launch(["--app", str(app), *arguments], app.parent)
