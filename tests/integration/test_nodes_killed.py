"""Nodes are killed, come back, are all killed: minutes of waiting, little work.

Flower believes a node alive for a minute after its last sign of life, and nothing can be set to
shorten that. Tests that wait for it are in files of their own: files can be run side by side.
"""

from pathlib import Path

import pytest

from scripts.real_federation import Federation
from tests.local_run import summary_of
from tests.real_run import NODES, Run, kill, start_again, wait_for_log

pytestmark = [pytest.mark.slow, pytest.mark.waiting, pytest.mark.timeout(900)]


def test_a_killed_node_comes_back_and_when_all_are_killed_the_run_can_be_resumed(
    federation: Federation, tmp_path: Path
) -> None:
    # Without a deadline, the rounds wait for Flower to notice: no machine is too busy for that.
    settings = {"round_deadline": 0.0, "quorum_deadline": 30.0}
    run = Run(federation, tmp_path / "out", num_server_rounds=99, **settings)
    # Killed in training: the round goes on without it.
    wait_for_log(federation, "node-1", "Receiving: train message")
    kill(federation, federation.nodes["node-1"])
    # Started again and again, it is let in when Flower has noticed; under its old name.
    start_again(federation, NODES[1])
    run.wait_for(r" 1 of 2 participants")
    run.wait_for(r" 2 of 2 participants")
    asked = run.participants()
    assert asked[0]["0"] is None
    assert "Node Unavailable" in str(asked[0]["1"])
    assert asked[-1] == {"0": None, "1": None}

    # All of them at once: the run ends, with a sentence.
    kill(federation, *federation.nodes.values())
    assert run.finish() == "finished:failed", run.log
    assert "run stopped: 0 of the 1 participants needed are connected (none)" in run.log
    assert "Traceback" not in run.log

    start_again(federation, *NODES)
    done = summary_of(run.directory)["rounds"]
    resumed = Run(
        federation, tmp_path / "out", resume=str(run.directory), num_server_rounds=done + 1
    )
    assert resumed.finish() == "finished:completed", resumed.log
    assert summary_of(run.directory)["rounds"] == done + 1
