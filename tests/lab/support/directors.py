"""Two directors: sets them up, and finds which one holds the VIP."""

from __future__ import annotations

import time
from contextlib import contextmanager

import pytest
from ground import clients, judges
from ground.capture import Capture, arp_answers
from ground.objects import VIP, virtual_service
from ground.wait import wait_until

from .arp_requests import repeated_requests

DIRECTORS = ("d", "r3")
# Number of connections that are kept open.
KEPT = 300


@pytest.fixture(autouse=True)
def only_here(fleets):
    """Resets the sysctl that pair() sets; for files that import it."""
    yield
    for node in map(fleets.site.lab.__getitem__, DIRECTORS):
        if node.powered:
            node.sh("sysctl -qw net.ipv4.vs.sloppy_tcp=0")


def holders(fleet, vip=VIP, names=DIRECTORS):
    """The directors that have the VIP on a NIC."""
    alive = [name for name in names if fleet.lab[name].powered]
    return [name for name in alive if judges.devices_with(fleet.lab[name], vip) not in ([], ["lo"])]


def owners(fleet, vips, names):
    """The one director that has each VIP on its NIC; fails while a VIP has none, or several. Those without power don't count."""
    alive = [name for name in names if fleet.lab[name].powered]
    found = {name: judges.addresses(fleet.lab[name]).get("eth0", []) for name in alive}
    held = {vip: [name for name in alive if f"{vip}/32" in found[name]] for vip in vips}
    assert all(len(who) == 1 for who in held.values()), f"{ {vip: who for vip, who in held.items() if len(who) != 1} }"
    return {vip: who[0] for vip, who in held.items()}


def wait_holder(fleet, *names, timeout=15):
    """Waits until one of `names` alone holds the VIP."""
    def reached():
        found = holders(fleet)
        assert len(found) == 1 and found[0] in names, f"held by {found}"
        return found[0]

    return wait_until(reached, f"one of {names} to hold {VIP}", timeout)


def wait_destinations(fleet, name, count=2, timeout=15):
    def reached():
        seen = judges.weights(fleet.lab[name], f"{VIP}:80")
        assert len(seen) == count and all(seen.values()), f"{seen}"
        return True

    wait_until(reached, f"{name} to have {count} destinations", timeout)


def pair(fleet, real_servers=("r1", "r2"), sloppy=True, **spec):
    """Starts two directors, the preferred one of which holds the VIP; returns the holder and the standby."""
    fleet.assign_roles(directors=DIRECTORS, real_servers=real_servers)
    for name in DIRECTORS:
        # With sloppy_tcp a director accepts connections whose beginning another one has seen.
        fleet.lab[name].sh(f"sysctl -qw net.ipv4.vs.sloppy_tcp={int(sloppy)}")
    fleet.start()
    fleet.apply(virtual_service(scheduler="mh", **{"directors": {"preferred": "r3"}, **spec}))
    holder = wait_holder(fleet, "r3")
    standby = "d"
    wait_destinations(fleet, holder, len(real_servers))
    if standby not in real_servers:
        wait_destinations(fleet, standby, len(real_servers))
    return holder, standby


@contextmanager
def two_halves(fleet, *away):
    """Puts the nodes `away` on a bridge of their own, until the end of the block."""
    host, ports = fleet.host, [fleet.lab[name].nics[0].port for name in away]
    host.sh("ip link add half type bridge forward_delay 0 mcast_snooping 0 && ip link set half up")
    try:
        host.sh("; ".join(f"ip link set {port} master half" for port in ports))
        yield
    finally:
        host.sh("; ".join(f"ip link set {port} master lan" for port in ports) + "; ip link del half")


def revive(fleet, name):
    """Boots a node whose power was cut, and starts its agent. Until it reports, real servers keep the VIP because of its old report."""
    fleet.site.discard(name)
    fleet.site.up(name)
    fleet.start(name)


def more(load, count=200, timeout=20):
    load.wait_answers(len(load.so_far().answers) + count, timeout)


def keep_open(fleet, vip=VIP):
    """Opens connections and keeps them open: half of them send a request each second, half of them every three seconds."""
    loads = [clients.hold(fleet.host, vip, n=KEPT // 2, interval=interval) for interval in (1, 3)]
    return [load.wait_answers(KEPT // 2, 20) for load in loads]


def not_kept(loads):
    """Waits until each of these connections was used again; returns the errors of those that ended, and the servers of those that moved."""
    since = time.time()

    def used(load):
        rows = load.so_far().rows
        return len({row["connection"] for row in rows if "error" in row or row["start"] >= since}) == KEPT // 2

    for load in loads:
        wait_until(lambda: used(load), "every connection to be used again", 30)
    outcomes = [load.stop() for load in loads]
    assert sum(len(outcome.servers_per_connection) for outcome in outcomes) == KEPT
    return [one for outcome in outcomes for one in outcome.not_kept]


def last_claim(fleet, frames, name):
    """When (seconds since the epoch) a frame of this director claimed the VIP last."""
    return max(f.time for f in frames if f.arp and f.arp_sender_ip == VIP and f.arp_sender_mac == fleet.site.mac(name))


def wait_alone(fleet, load, name, timeout=30):
    """Waits until `name` alone holds the VIP; from then on no frame of another director claims it, while clients are answered."""
    wait_holder(fleet, name, timeout=timeout)
    asking = repeated_requests(fleet.host, VIP, sender=fleet.lab.address(), interval=0.02)
    with Capture(fleet.host, "lan", "arp") as capture, asking:
        more(load)
    assert answering(fleet, capture.stop()) == {name}, f"{name} alone should answer for {VIP}"


def answering(fleet, frames, vip=VIP):
    """The directors whose MAC claimed the VIP in a capture."""
    names = {fleet.site.mac(name): name for name in fleet.labels}
    return {names.get(mac, mac) for mac in arp_answers(frames, vip)}
