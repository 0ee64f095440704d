"""NodeStates that an attacker wrote, or that somebody deleted: every agent reads them, and goes on."""

import json
import re

import pytest
from ground import clients, judges
from ground.objects import BACKEND, DIRECTOR
from ground.wait import wait_until
from support import VIP
from support.directors import DIRECTORS, more, only_here, pair  # noqa: F401
from support.fleet import MERGE

STATES = "/apis/directway.dev/v1alpha1/nodestates"
NODES = (*DIRECTORS, "r1", "r2")
# Address ranges in the hostile report. Each claims 65,536 addresses: read as single ones, they are some 20 million in all.
RANGES = 300
# What a process may grow by (kB). A million addresses of 17 bytes each, as the agents keep them, take as much.
GROWTH = 16 * 1024


def ranges(first: int, count: int) -> list[str]:
    return [f"{first + n // 256}.{n % 256}.0.0-{first + n // 256}.{n % 256}.255.255" for n in range(count)]


def resident(status: str) -> int:
    """VmHWM of a /proc/PID/status, in kB: the most that the process ever had."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1))


def memory(cluster) -> dict[str, int]:
    """What the controller and each agent took at most, by name."""
    found = {name: resident(cluster.lab[name].read(f"/proc/{cluster.lab[name].agent.process.pid}/status")) for name in NODES}
    with open(f"/proc/{cluster.lab.controller.pid}/status") as status:
        return {**found, "controller": resident(status.read())}


def changes(cluster) -> dict[str, float]:
    """How many changes each agent made in its kernel, by node and op."""
    samples = {name: cluster.lab[name].agent.metrics() for name in NODES}
    return {f"{name} {key}": value for name, found in samples.items() for key, value in found.items() if key.startswith("directway_ops_total")}


def states(cluster) -> dict[str, str]:
    """The identity of each NodeState by node: a new one if it was written anew."""
    return {one["metadata"]["name"]: one["metadata"]["uid"] for one in cluster.api.get(STATES)["items"]}


@pytest.fixture
def enemy(cluster):
    """A node whose token an attacker has: `enemy(status)` writes its NodeState. It is a director as well, so that others read everything of it."""
    holder, _ = pair(cluster)
    assert holder == "r3"
    cluster.api.register("enemy", "10.77.0.99", {**DIRECTOR, **BACKEND})
    cluster.api.apply({"apiVersion": "directway.dev/v1alpha1", "kind": "NodeState", "metadata": {"name": "enemy"}})
    yield lambda status: cluster.api.request("PATCH", f"{STATES}/enemy/status", {"status": status}, MERGE)
    cluster.api.raw("DELETE", f"{STATES}/enemy")
    cluster.api.raw("DELETE", "/api/v1/nodes/enemy")


def test_a_report_of_a_few_kilobytes_that_claims_millions_of_addresses(cluster, enemy):
    """Memory follows the bytes of a report, not the number of addresses in its ranges, and nobody believes what concerns the VIP."""
    parts = [ranges(first, RANGES // 3) for first in (11, 21, 31)]
    report = {
        "agentVersion": "x",
        "roles": ["director", "backend"],
        "bound": parts[0],
        "directing": [{"vips": [VIP], "ready": parts[1], "draining": parts[2]}],
    }
    size = len(json.dumps(report))
    assert size < 12 * 1024, f"{size} bytes"
    before = memory(cluster)
    with clients.steady(cluster.host, VIP) as load:
        more(load)
        enemy(report)
        for number in range(5):
            enemy({"drift": number})
            more(load, 100)
        # An agent that acts on a change has read everything that was written before.
        cluster.set_weight("r1", 2)
        expected = {cluster.site.address("r1"): 2, cluster.site.address("r2"): 1}
        for name in DIRECTORS:
            wait_until(lambda: judges.weights(cluster.lab[name], f"{VIP}:80") == expected, f"{name} to follow")
        cluster.wait_condition("Ready", "True")
        more(load, 100)
        outcome = load.stop()
    after = memory(cluster)
    print(f"\n{size} bytes: kB at most before and after: { {name: (before[name], after[name]) for name in before} }; {outcome}")
    assert {name: grown for name in before if (grown := after[name] - before[name]) > GROWTH} == {}
    assert outcome.errors == [] and set(outcome.counts) == {"r1", "r2"}, outcome


@pytest.mark.parametrize("restart", [False, True], ids=["agents run on", "agents start meanwhile"])
def test_all_reports_are_deleted_under_load(cluster, restart):
    """What was reported last stays in force until it is written anew: no kernel is changed, and no connection lost."""
    holder, standby = pair(cluster)
    # The agent of a node that an earlier scenario used would write its report anew, too.
    if others := [node.name for node in cluster.site.running() if node.name not in NODES]:
        cluster.stop(*others)
    weights = lambda: {name: judges.weights(cluster.lab[name], f"{VIP}:80") for name in DIRECTORS}
    before, old = weights(), states(cluster)
    # A node that another scenario used may have one, too.
    assert old.keys() >= set(NODES)
    with clients.steady(cluster.host, VIP) as load:
        more(load)
        if restart:
            cluster.stop(holder, "r1")
        made = changes(cluster) if not restart else {}
        cluster.api.kubectl("delete nodestates --all")
        if restart:
            cluster.start(holder, "r1")

        def written() -> bool:
            new = states(cluster)
            assert new.keys() == set(NODES) and not set(new.values()) & set(old.values()), f"{new}"
            return True

        wait_until(written, "every agent to write its report anew", 30)
        more(load)
        assert weights() == before
        assert made == (changes(cluster) if not restart else {})
        outcome = load.stop()
    print(f"\n{outcome}")
    assert outcome.errors == [] and set(outcome.counts) == {"r1", "r2"}, outcome
    cluster.set_weight("r2", 3)
    wait_until(lambda: judges.weights(cluster.lab[standby], f"{VIP}:80")[cluster.site.address("r2")] == 3, "the agents to go on")
