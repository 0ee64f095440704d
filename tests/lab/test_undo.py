"""Everything can be undone without a trace: what was there before is there afterwards, byte for byte."""

from contextlib import contextmanager

import pytest
from ground import clients, judges
from ground.wait import wait_until
from support import VIP, virtual_service

NODES = ("d", "r1", "r2")
THEIRS = {
    "d": (
        "ipvsadm -A -t 10.77.0.200:81 -s wlc; ipvsadm -a -t 10.77.0.200:81 -r 10.77.0.11 -m -w 7;"
        "ip addr add 10.99.0.1/32 dev lo; sysctl -qw net.ipv4.conf.eth0.arp_announce=1",
        "ipvsadm -D -t 10.77.0.200:81; ip addr del 10.99.0.1/32 dev lo; sysctl -qw net.ipv4.conf.eth0.arp_announce=0",
    ),
    "r1": (
        "ip addr add 10.99.0.2/32 dev eth0; ip route add 10.99.1.0/24 dev lo; sysctl -qw net.ipv4.conf.eth0.arp_ignore=1",
        "ip addr del 10.99.0.2/32 dev eth0; ip route del 10.99.1.0/24 dev lo; sysctl -qw net.ipv4.conf.eth0.arp_ignore=0",
    ),
}


@contextmanager
def others_at_work(fleet):
    """A foreign service, foreign addresses, a foreign route and changed sysctls; yields the state with them."""
    for name, (do, _) in THEIRS.items():
        fleet.lab[name].sh(do)
    yield {name: judges.snapshot(fleet.lab[name]) for name in NODES}
    for name, (_, undo) in THEIRS.items():
        fleet.lab[name].sh(undo)


def delete(fleet):
    fleet.delete()


def unlabel(fleet):
    for name in NODES:
        fleet.label(name, {})


def cleanup(fleet):
    fleet.stop()
    clean_nodes(fleet)


def kill_then_cleanup(fleet):
    fleet.stop(kill=True)
    clean_nodes(fleet)


def kill_then_delete(fleet):
    fleet.stop(kill=True)
    fleet.delete()
    fleet.start()


def kill_then_unlabel(fleet):
    fleet.stop(kill=True)
    unlabel(fleet)
    fleet.start()


def clean_nodes(fleet):
    for name in NODES:
        result = fleet.lab[name].directway("cleanup")
        assert result.ok, result


@pytest.mark.vm
@pytest.mark.parametrize(
    "undo",
    [
        pytest.param(delete, marks=pytest.mark.core), unlabel, cleanup,
        pytest.param(kill_then_cleanup, marks=pytest.mark.core), kill_then_delete, kill_then_unlabel,
    ],
)
def test_s15_nothing_is_left(fleet, undo):
    fleet.assign_roles()
    with others_at_work(fleet) as before:
        fleet.serve()
        assert clients.requests(fleet.host, VIP, n=10).errors == []
        for name in NODES:
            assert judges.difference(before[name], judges.snapshot(fleet.lab[name])), f"{name} should have changed"
        undo(fleet)

        def as_before() -> bool:
            seen = {name: judges.difference(before[name], judges.snapshot(fleet.lab[name])) for name in NODES}
            assert not any(seen.values()), seen
            return True

        wait_until(as_before, "every node to be as it was", 15)


def test_an_agent_that_is_ended_with_its_label_undoes_first(cluster):
    """A DaemonSet ends the pod at the moment at which its node loses the label; the agent must undo the node, whichever it notices first."""
    cluster.assign_roles().serve()
    for name in ("r2", "r1", "d"):
        node = cluster.lab[name]
        cluster.label(name, {})
        assert node.agent.process.stop(timeout=30) == 0
        assert judges.difference(cluster.site.baselines[name], judges.snapshot(node)) == "", name


def test_a_sysctl_that_somebody_changed_since_is_theirs(cluster):
    cluster.assign_roles().serve()
    node = cluster.lab["r1"]
    cluster.stop("r1")
    node.sh("sysctl -qw net.ipv4.conf.eth0.arp_ignore=2")
    cluster.delete()
    cluster.start("r1")
    wait_until(lambda: judges.devices_with(node, VIP) == [], "the VIP to leave r1")
    wait_until(lambda: judges.sysctl(node, "net.ipv4.conf.eth0.arp_announce") == 0, "our setting to be restored")
    assert judges.sysctl(node, "net.ipv4.conf.eth0.arp_ignore") == 2
    node.sh("sysctl -qw net.ipv4.conf.eth0.arp_ignore=0")


def test_a_foreign_service_with_our_key_is_left_alone(cluster):
    cluster.assign_roles()
    director = cluster.lab["d"]
    director.sh(f"ipvsadm -A -t {VIP}:80 -s sed; ipvsadm -a -t {VIP}:80 -r 10.77.0.12 -g -w 9")
    before = director.sh("ipvsadm -Sn")
    cluster.start()
    try:
        cluster.apply(service := virtual_service())
        cluster.wait_condition("Programmed", "False", "ForeignService")
        assert director.sh("ipvsadm -Sn") == before
    finally:
        director.sh(f"ipvsadm -D -t {VIP}:80")
    cluster.wait_serving(service)


def test_stopping_the_agents_leaves_the_data_path(cluster):
    cluster.assign_roles().serve()
    before = {name: judges.snapshot(cluster.lab[name]) for name in NODES}
    load = clients.load(cluster.host, VIP, interval=0.005)
    load.wait_answers(50)
    cluster.stop()
    assert {name: judges.snapshot(cluster.lab[name]) for name in NODES} == before
    cluster.start()
    seen = len(load.so_far().answers)
    load.wait_answers(seen + 50)
    outcome = load.stop()
    assert outcome.errors == [], outcome
    assert {name: judges.snapshot(cluster.lab[name]) for name in NODES} == before
