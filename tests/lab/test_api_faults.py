"""The API server is gone, or refuses the agents: they keep what they last knew, and remove nothing."""

import pytest
from ground import clients, judges
from ground.place import CommandFailed
from ground.wait import wait_until
from support import VIP, virtual_service

NODES = ("d", "r1", "r2")
OUTAGE = 60


def snapshots(cluster):
    return {name: judges.snapshot(cluster.lab[name]) for name in NODES}


def cut(cluster):
    for name in NODES:
        cluster.lab.forwarder(cluster.lab[name]).cut()


def heal(cluster):
    for name in NODES:
        cluster.lab.forwarder(cluster.lab[name]).heal()


@pytest.mark.vm
def test_gone_at_start(cluster):
    """Agents that start without it change nothing, name the missing source in /readyz, and work as soon as it is there."""
    cluster.assign_roles()
    cluster.stop()
    service = virtual_service()
    cluster.apply(service)
    before = snapshots(cluster)
    cut(cluster)
    try:
        cluster.start(wait=False)
        agent = cluster.lab["d"].agent
        wait_until(lambda: agent.get("/healthz") is not None, "the agent to be alive")
        with pytest.raises(CommandFailed, match="(?i)virtualservices"):
            agent.get("/readyz")
        assert snapshots(cluster) == before
    finally:
        heal(cluster)
    cluster.wait_serving(service, timeout=40)
    cluster.start()


@pytest.mark.vm
def test_a_restart_without_it_keeps_serving(cluster):
    service = cluster.assign_roles().serve()
    before = snapshots(cluster)
    load = clients.load(cluster.host, VIP, interval=0.01)
    cut(cluster)
    try:
        cluster.stop("d", kill=True)
        cluster.stop("r1")
        cluster.start(wait=False)
        wait_until(lambda: cluster.lab["d"].agent.get("/healthz") is not None, "the agent to be alive")
        load.wait_answers(len(load.so_far().answers) + 100)
        assert snapshots(cluster) == before
    finally:
        heal(cluster)
    cluster.start()
    cluster.set_weight("r1", 2)
    cluster.wait_weights(service, {"r1": 2, "r2": 1}, timeout=40)
    assert load.stop().errors == []


def test_gone_for_a_minute_under_load(cluster):
    service = cluster.assign_roles().serve()
    before = snapshots(cluster)
    load = clients.load(cluster.host, VIP, interval=0.02)
    held = clients.hold(cluster.host, VIP, n=4, interval=0.2)
    held.wait_answers(8)
    cluster.api.stop()
    try:
        load.wait_answers(OUTAGE * 45, timeout=OUTAGE + 60)
        begin = load.so_far().rows[0]["start"]
        wait_until(lambda: load.so_far().rows[-1]["end"] - begin >= OUTAGE, "the minute to be over", OUTAGE, every=0.5)
        assert snapshots(cluster) == before
    finally:
        cluster.api.start()
        cluster.api.wait_ready()
    cluster.set_weight("r1", 2)
    cluster.wait_weights(service, {"r1": 2, "r2": 1}, timeout=60)
    outcome, long = load.stop(), held.stop()
    assert outcome.errors == [] and long.errors == [], f"{outcome}; {long}"
    cluster.wait_condition("Ready", "True", timeout=60)


def test_a_stalled_connection(cluster):
    """No reset and no answer, as from a firewall that forgot the flow: the agent must notice that its watch is dead."""
    service = cluster.assign_roles().serve()
    forwarder = cluster.lab.forwarder(cluster.lab["d"])
    forwarder.stall()
    try:
        cluster.api.raw("GET", "/readyz")
        assert clients.requests(cluster.host, VIP, n=50).errors == []
    finally:
        forwarder.heal()
    cluster.set_weight("r1", 2)
    cluster.wait_weights(service, {"r1": 2, "r2": 1}, timeout=40)


def test_wrong_credentials(cluster):
    cluster.assign_roles()
    cluster.stop()
    service = virtual_service()
    cluster.apply(service)
    director = cluster.lab["d"]
    good = director.read(director.kubeconfig())
    director.write("/run/kube/wrong.conf", good.replace(cluster.api.token, "nobody-knows-this"))
    before = judges.snapshot(director)
    cluster.start("r1", "r2")
    agent = director.start_agent("kubernetes", kubeconfig="/run/kube/wrong.conf")
    wait_until(lambda: "401" in agent.log() or "unauthorized" in agent.log().lower(), "its log to say why")
    with pytest.raises(CommandFailed):
        agent.get("/readyz")
    assert judges.snapshot(director) == before
    assert agent.running(), "credentials may come: it waits"
    agent.kill()
    cluster.start("d")
    cluster.wait_serving(service)
