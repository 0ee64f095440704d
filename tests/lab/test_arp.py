"""Only one NIC of the director answers ARP for the VIP, at every moment; and announces it to all."""

from contextlib import contextmanager

import pytest
from ground import arp, clients, judges
from ground.capture import Capture, announcements, arp_answers
from ground.wait import wait_until
from support import VIP, arping_many, repeated_requests, virtual_service

QUIET = (1, 2)
NODES = ("d", "r1", "r2")


@pytest.mark.core
def test_s1_only_the_director_answers(fleet):
    fleet.assign_roles().serve()
    fleet.site.forget_neighbours()
    with Capture(fleet.host, "lan", f"arp and host {VIP}") as capture:
        answers = arping_many(fleet.host, VIP, tries=20)
    director = fleet.site.mac("d")
    assert answers == {director}
    assert arp_answers(capture.stop(), VIP).keys() == {director}


@pytest.mark.core
def test_s6_quiet_on_the_ingress_nic_though_all_is_0(cluster):
    cluster.assign_roles().serve()
    for name in NODES:
        node = cluster.lab[name]
        for key in ("arp_ignore", "arp_announce"):
            assert judges.sysctl(node, f"net/ipv4/conf/all/{key}") == 0
        assert judges.arp_mode(node, "eth0") == QUIET, name


def test_s6_a_bridge_master_is_the_ingress(cluster):
    cluster.assign_roles(real_servers=("bridged",)).serve()
    assert judges.arp_mode(cluster.lab["bridged"], "br0") == QUIET
    assert arp.who_has(cluster.host, VIP, tries=20).keys() == {cluster.site.mac("d")}
    assert clients.requests(cluster.host, VIP, n=10).counts == {"bridged": 10}


def test_s6_a_vlan_is_the_ingress(cluster):
    vip = "10.77.5.100"
    cluster.assign_roles(real_servers=("tagged",)).serve(vip=vip)
    assert judges.devices_with(cluster.lab["d"], vip) == ["eth0.5", "lo"]
    assert judges.arp_mode(cluster.lab["tagged"], "eth0.5") == QUIET
    visitor = cluster.site.node("visitor")
    assert judges.arping(visitor, vip, "eth0.5", count=3) == {cluster.site.mac("d"): 3}
    assert clients.requests(visitor, vip, n=10).counts == {"tagged": 10}


def test_s6_a_nic_that_appears_later(cluster):
    cluster.assign_roles(real_servers=("r1", "late")).serve()
    node = cluster.lab["late"]
    with Capture(cluster.host, "lan", "arp") as capture:
        device = node.add_nic("lan")
        wait_until(lambda: judges.arp_mode(node, device) == QUIET, f"{device} to be quiet")
        node.sh(f"ip addr add 10.77.0.99/24 dev {device}; ip link set {device} up")
        wait_until(lambda: arp.who_has(cluster.host, "10.77.0.99", tries=1), "the new NIC to take part in ARP")
        assert arp.who_has(cluster.host, VIP, tries=20).keys() == {cluster.site.mac("d")}
    frames = capture.stop()
    assert arp_answers(frames, "10.77.0.99").keys() & {nic.mac for nic in node.nics}, "the capture sees its answers"
    assert arp_answers(frames, VIP).keys() == {cluster.site.mac("d")}
    assert judges.arp_mode(node, device) == QUIET
    cluster.remove_node("late")


def test_s8_quiet_comes_before_the_vip(cluster):
    """The VIP comes and goes twenty times, under constant ARP requests, with a capture from before the agents start."""
    cluster.assign_roles()
    cluster.stop()
    service = virtual_service()
    director = cluster.site.mac("d")
    with Capture(cluster.host, "lan", f"arp and host {VIP}") as capture:
        with repeated_requests(cluster.host, VIP, sender=cluster.lab.address()) as asking:
            cluster.start()
            for _ in range(20):
                cluster.apply(service)
                cluster.wait_serving(service)
                cluster.delete("web")
                wait_until(lambda: not any(judges.devices_with(cluster.lab[n], VIP) for n in NODES), "the VIP to leave all nodes")
            assert asking.is_alive()
    frames = capture.stop()
    asked = sum(f.arp == "request" and f.arp_target_ip == VIP for f in frames)
    assert asked > 1000, f"only {asked} questions: too few to prove anything"
    answers = arp_answers(frames, VIP)
    answers.pop(judges.mac(cluster.host, "lan"), None)
    assert answers.keys() == {director}
    assert answers[director] >= 20


@contextmanager
def deaf_to(place, operation):
    """A host that takes no ARP requests, or no replies, that come from the VIP, until the end of the block."""
    place.sh(f"nft 'table arp deaf {{ chain in {{ type filter hook input priority 0; arp operation {operation} arp saddr ip {VIP} drop; }}; }}'")
    try:
        yield
    finally:
        place.sh("nft delete table arp deaf")


@pytest.mark.parametrize("heard, state", [("request", "stale"), ("request", "reachable"), ("reply", "stale"), ("reply", "reachable")])
def test_s18_a_neighbour_learns_from_either_form_of_an_announcement(hosts, heard, state):
    """A neighbour has another MAC in its ARP table and hears one form alone. After the claim both are on the wire, and it has the director's MAC."""
    host = hosts.host
    hosts.assign_roles().start()
    director = hosts.site.mac("d")
    assert [judges.sysctl(host, f"net/ipv4/conf/{device}/arp_accept") for device in ("all", "lan")] == [0, 0]
    host.sh(f"ip neigh replace {VIP} lladdr 02:00:00:00:00:77 nud {state} dev lan")
    with deaf_to(host, "reply" if heard == "request" else "request"), Capture(host, "lan", f"arp and host {VIP}") as capture:
        hosts.serve()
        wait_until(lambda: judges.neighbour(host, VIP) == director, "the neighbour to have the director's MAC")
        wait_until(lambda: len(announcements(capture.frames(), VIP)) >= 2, "an announcement to be captured")
    frames = announcements(capture.stop(), VIP)
    assert {f.arp_sender_mac for f in frames} == {f.src_mac for f in frames} == {director}
    forms = [f.arp for f in frames]
    # The capture may end between the two frames of a later announcement.
    assert forms == (["request", "reply"] * len(forms))[: len(forms)], "each announcement is a request, then a reply"
    assert {f.arp_target_mac for f in frames if f.arp == "reply"} == {director}


@pytest.mark.parametrize("role", ["director", "real server"])
def test_s17_three_nics_on_one_segment(cluster, role):
    if role == "director":
        cluster.assign_roles(directors=("flux",), real_servers=("r1",))
        expected, server = cluster.site.mac("flux", 0), "r1"
    else:
        cluster.assign_roles(real_servers=("flux",))
        expected, server = cluster.site.mac("d"), "flux"
    cluster.serve()
    with Capture(cluster.host, "lan", f"arp and host {VIP}") as capture:
        assert arp.who_has(cluster.host, VIP, tries=20).keys() == {expected}
    assert arp_answers(capture.stop(), VIP).keys() == {expected}
    for device in ("eth0", "eth1", "eth2"):
        assert judges.arp_mode(cluster.lab["flux"], device) == QUIET
    assert clients.requests(cluster.host, VIP, n=10).counts == {server: 10}
