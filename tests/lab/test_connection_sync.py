"""Directors synchronise their connections. `sloppy_tcp` is off, so that only synchronised connections outlive their director."""

from ipaddress import ip_address

import pytest
from ground.wait import wait_until
from support import BACKEND
from support.directors import DIRECTORS, KEPT, keep_open, not_kept, pair, revive, wait_destinations, wait_holder

SYNC = ["--sync-interface", "eth0", "--ipvs-setting", "sync_threshold=2"]


@pytest.fixture
def told(cluster):
    cluster.assign_roles(directors=DIRECTORS)
    cluster.stop(*DIRECTORS)
    cluster.start(*DIRECTORS, args=SYNC)
    yield cluster
    cluster.stop()


def outlive(fleet, holder, standby):
    """Cuts the holder's power while connections are open; returns those that ended or moved."""
    kept = keep_open(fleet)
    # The kernel sends a message that is not full after two to three seconds (IPVS_SYNC_FLUSH_TIME).
    wait_until(lambda: known(fleet.lab[standby]) >= KEPT, f"{standby} to know the connections", 10)
    fleet.lab[holder].power_off()
    wait_holder(fleet, standby, timeout=5)
    lost = not_kept(kept)
    revive(fleet, holder)
    return lost


def known(node):
    return node.sh("ipvsadm -Lcn").count("ESTABLISHED")


def daemons(node):
    return node.sh("ipvsadm -Ln --daemon").splitlines()


def test_connections_outlive_their_director(told):
    holder, standby = pair(told, sloppy=False)
    for name in (holder, standby):
        seen = [line.split(",")[:2] for line in daemons(told.lab[name])]
        assert seen == [[f"{half} sync daemon (mcast=eth0", " syncid=215"] for half in ("master", "backup")]
    assert outlive(told, holder, standby) == []


def test_connections_outlive_their_director_after_destinations_came_and_went(told):
    """A real server left and came back, so that it is last in the holder's table; the standby booted later and has it first."""
    holder, standby = pair(told, real_servers=("late", "r1", "r2"), sloppy=False)
    first = min(("late", "r1", "r2"), key=lambda name: ip_address(told.site.address(name)))
    told.label(first, {})
    wait_destinations(told, holder, 2)
    told.label(first, BACKEND)
    wait_destinations(told, holder, 3)
    told.site.discard(standby)
    told.site.up(standby)
    told.start(standby, args=SYNC)
    wait_destinations(told, standby, 3)
    assert outlive(told, holder, standby) == []


def test_daemons_follow_an_interface_that_was_made_anew(cluster):
    """A VLAN between the directors is deleted and made again: the daemons on it start anew."""
    cluster.assign_roles(directors=DIRECTORS)
    cluster.stop(*DIRECTORS)
    vlan = "ip link add link eth0 name sync0 type vlan id 9; ip addr add 10.99.0.{}/24 dev sync0; ip link set sync0 up"
    for last, name in enumerate(DIRECTORS, 1):
        cluster.lab[name].sh(vlan.format(last))
    cluster.start(*DIRECTORS, args=["--sync-interface", "sync0", "--ipvs-setting", "sync_threshold=2"])
    try:
        holder, standby = pair(cluster, sloppy=False)
        cluster.lab[holder].sh("ip link del sync0; " + vlan.format(1 + DIRECTORS.index(holder)))

        def started_again() -> bool:
            # A third time, if a pass looked at the interfaces while there was none of the name.
            started = [line for line in cluster.lab[holder].agent.log().splitlines() if "INFO ipvsadm --start-daemon master" in line]
            assert len(started) >= 2, started
            return True

        wait_until(started_again, "the daemons to be started again", 40)
        assert outlive(cluster, holder, standby) == []
    finally:
        cluster.delete()
        cluster.stop(*DIRECTORS)
        for name in DIRECTORS:
            cluster.lab[name].call("ip link del sync0")
