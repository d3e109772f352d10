"""Nodes are killed, come back, are all killed, sign off: minutes of waiting, little work.

Flower believes a node alive for a minute after its last sign of life, and nothing can be set to
shorten that. Tests that wait for it are in files of their own: files can be run side by side.
"""

from pathlib import Path

import pytest

from scripts.deployment.cluster import Federation
from tests.support.local_run import summary_of
from tests.support.real_run import NODES, Run, kill, start_again, wait_for_log

pytestmark = [pytest.mark.slow, pytest.mark.waiting, pytest.mark.timeout(1200)]

STOPPED = "run stopped: 0 of the 1 participants needed are connected (none)"


def test_nodes_that_are_killed_are_missed_and_come_back_and_a_run_without_any_is_resumed(
    federation: Federation, tmp_path: Path
) -> None:
    # Without a deadline, the rounds wait for Flower to notice: no machine is too busy for that.
    settings = {"num_server_rounds": 99, "round_deadline": 0.0, "quorum_deadline": 30.0}
    run = Run(federation, tmp_path / "out", **settings)
    # Killed in training: the round goes on without it, and the next one does not ask it.
    wait_for_log(federation, "node-1", "Receiving: train message")
    kill(federation, federation.nodes["node-1"])
    run.wait_for(r" 1 of 2 participants")
    run.wait_for(r" 1 of 1 participants")
    first, second, *_ = run.participants()
    assert first["0"] is None
    assert "Node Unavailable" in str(first["1"])
    assert second == {"0": None}
    # Started again, and again until Flower lets it in under its old name.
    start_again(federation, NODES[1])
    run.wait_for(r" 2 of 2 participants")
    assert run.participants()[-1] == {"0": None, "1": None}

    # All of them at once: the run ends, with a sentence.
    kill(federation, *federation.nodes.values())
    assert run.finish() == "finished:failed", run.log
    assert STOPPED in run.log
    assert "Traceback" not in run.log

    start_again(federation, *NODES)
    done = summary_of(run.directory)["rounds"]
    resumed = Run(federation, tmp_path / "out", resume=str(run.directory), **settings)
    resumed.wait_for(rf"round +{done + 1}/99 \|")

    # All of them sign off: that ends the run in the same way.
    for process in federation.nodes.values():
        process.terminate()
        process.wait()
    assert resumed.finish() == "finished:failed", resumed.log
    assert STOPPED in resumed.log
    assert "Traceback" not in resumed.log
    assert summary_of(run.directory)["rounds"] > done
