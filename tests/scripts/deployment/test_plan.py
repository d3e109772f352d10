"""Which nodes a federation is to have, and with what."""

from pathlib import Path

import pytest
from flwr.common.config import parse_config_args

from scripts.deployment.plan import FederationPlan, plan_federation
from scripts.launcher.run_config import UsageError

CLASSES = ("-c", "class-names='cat,dog'")


def plan(cwd: Path, *arguments: str) -> FederationPlan:
    return plan_federation(arguments, cwd)


def test_numbered_nodes_hold_the_parts_of_one_data_set(tmp_path: Path) -> None:
    nodes = plan(tmp_path, "--participants", "3").nodes

    assert [node.name for node in nodes] == ["node-0", "node-1", "node-2"]
    assert nodes[2].config_argument == "partition-id=2 num-partitions=3"


def test_named_nodes_bring_their_own_data(tmp_path: Path) -> None:
    (tmp_path / "my data").mkdir()
    (tmp_path / "b").mkdir()

    made = plan(tmp_path, "--node", "north=my data", "--node", "south=b", *CLASSES)

    assert made.overrides["dataset"] == "own"
    assert made.overrides["num-participants"] == 2
    # Flower reads it as it was meant.
    assert parse_config_args([made.nodes[0].config_argument]) == {
        "name": "north",
        "data": str(tmp_path / "my data"),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--node", "north"], "not of the form NAME=DATA"),
        (["--node", "no/rth=."], "letters, digits"),
        (["--node", "a=gone"], "is not there"),
        (["--node", "a=.", *CLASSES, "-c", "dataset='digits'"], "dataset = 'digits' in the run"),
        (["--node", "a=.", *CLASSES, "-c", "num-participants=4"], "it is 1; leave it out"),
        (["--node", "a=.", "--node", "a=."], "given twice"),
        (["--node", "a=.", "--participants", "2"], "but 1 times --node"),
        (["-c", 'dataset="own" class-names="a,b"'], "--node NAME=PATH"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan(tmp_path, *arguments, *CLASSES)


def test_a_path_that_flower_cannot_carry_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'a"b').mkdir()
    with pytest.raises(UsageError, match="cannot carry quotes"):
        plan(tmp_path, "--node", 'a=a"b', *CLASSES)
