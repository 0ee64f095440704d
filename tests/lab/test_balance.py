"""Requests are spread by direct routing: shares, paths, connections that stay."""

import pytest
from ground import clients, judges
from ground.capture import Capture
from ground.wait import wait_until
from support import VIP, virtual_service

BIG = 4 << 20


@pytest.mark.core
def test_s2_rr_alternates(fleet):
    fleet.assign_roles().serve(scheduler="rr")
    outcome = clients.requests(fleet.host, VIP, n=200)
    assert outcome.errors == []
    assert outcome.counts == {"r1": 100, "r2": 100}
    assert outcome.alternations == 199


@pytest.mark.core
def test_s2_wrr_follows_the_weights(fleet):
    fleet.assign_roles().set_weight("r2", 3)
    fleet.serve(scheduler="wrr")
    outcome = clients.requests(fleet.host, VIP, n=400)
    assert outcome.errors == []
    assert abs(outcome.counts["r1"] - 100) <= 3 and abs(outcome.counts["r2"] - 300) <= 3, outcome


@pytest.mark.core
def test_a_changed_weight_changes_the_spread(cluster):
    service = cluster.assign_roles().serve(scheduler="wrr")
    assert clients.requests(cluster.host, VIP, n=100).counts == {"r1": 50, "r2": 50}
    cluster.set_weight("r1", 4)
    cluster.wait_weights(service, {"r1": 4, "r2": 1})
    assert clients.requests(cluster.host, VIP, n=100).counts == {"r1": 80, "r2": 20}
    cluster.set_weight("r1", 0)
    cluster.wait_weights(service, {"r1": 0, "r2": 1})
    assert clients.requests(cluster.host, VIP, n=100).counts == {"r2": 100}


@pytest.mark.core
def test_s13_the_macs_of_a_packets_path(cluster):
    cluster.assign_roles().serve()
    client = judges.mac(cluster.host, "lan")
    director, r1, r2 = (cluster.site.mac(name) for name in ("d", "r1", "r2"))
    # Not the director's own health checks.
    with Capture(cluster.host, "lan", f"tcp port 80 and host {VIP} and host {cluster.lab.address()}") as capture:
        outcome = clients.requests(cluster.host, VIP, n=20)
    assert outcome.counts == {"r1": 10, "r2": 10}
    frames = capture.stop()
    requests = {(f.src_mac, f.dst_mac) for f in frames if f.dport == 80}
    replies = {(f.src_mac, f.dst_mac) for f in frames if f.sport == 80}
    assert requests == {(client, director), (director, r1), (director, r2)}
    assert replies == {(r1, client), (r2, client)}
    first = next(f for f in frames if f.src_mac == client)
    assert (first.src, first.dst) == (cluster.lab.address(), VIP), "the request's addresses are the client's and the VIP"


@pytest.mark.core
def test_s13_no_reply_byte_passes_the_director(cluster):
    cluster.assign_roles().serve()
    with Capture(cluster.host, cluster.lab["d"].nics[0].port, f"tcp port 80 and host {cluster.lab.address()}") as capture:
        got = cluster.host.sh(f"curl -sS --max-time 20 -o /dev/null -w '%{{size_download}}' http://{VIP}/big")
    frames = capture.stop()
    assert int(got) == BIG
    assert [f for f in frames if f.sport == 80] == []
    assert 0 < sum(f.payload for f in frames if f.dport == 80) < 2000, "only the request, twice: in and out"


def test_s12_the_director_needs_no_ip_forward(cluster):
    cluster.assign_roles()
    director = cluster.lab["d"]
    assert judges.sysctl(director, "net.ipv4.ip_forward") == 0
    cluster.serve()
    assert clients.requests(cluster.host, VIP, n=50).counts == {"r1": 25, "r2": 25}
    assert judges.sysctl(director, "net.ipv4.ip_forward") == 0


def test_s14_a_long_connection_stays_while_the_others_come_and_go(cluster):
    service = cluster.assign_roles(real_servers=("r1", "r2", "r3"))
    cluster.label("r3", {})
    service = cluster.serve(scheduler="wrr")
    held = clients.hold(cluster.host, VIP, n=12, interval=0.05)
    held.wait_answers(48)
    for weight in (5, 1, 0):
        cluster.set_weight("r1", weight)
        cluster.wait_weights(service, {"r1": weight, "r2": 1})
    cluster.label("r3", {"directway.dev/backend": "true"})
    cluster.wait_weights(service, {"r1": 0, "r2": 1, "r3": 1})
    assert "r3" in clients.requests(cluster.host, VIP, n=4).counts, "new connections know the newcomer"
    cluster.label("r3", {})
    cluster.wait_weights(service, {"r1": 0, "r2": 1})
    seen = len(held.so_far().answers)
    held.wait_answers(seen + 48)
    outcome = held.stop()
    assert outcome.errors == []
    servers = list(outcome.servers_per_connection.values())
    assert len(servers) == 12 and all(len(who) == 1 for who in servers), servers
    assert outcome.counts.keys() == {"r1", "r2"}


def test_a_leaving_real_server_keeps_its_connections_until_they_end(cluster):
    cluster.assign_roles()
    service = cluster.serve(drainSeconds=300)
    held = clients.hold(cluster.host, VIP, n=6, interval=0.05)
    held.wait_answers(24)
    cluster.label("r2", {})
    cluster.wait_weights(service, {"r1": 1, "r2": 0})
    assert clients.requests(cluster.host, VIP, n=10).counts == {"r1": 10}
    before = held.so_far().counts["r2"]
    wait_until(lambda: held.so_far().counts["r2"] > before + 10, "answers of the leaving server")
    assert judges.devices_with(cluster.lab["r2"], VIP) == ["lo"], "it keeps the VIP as long as packets come"
    outcome = held.stop()
    assert outcome.errors == []
    # The connections are over, so the real server leaves long before the 300 s: FIN_WAIT does not count as active.
    cluster.wait_weights(service, {"r1": 1}, timeout=15)
    wait_until(lambda: judges.devices_with(cluster.lab["r2"], VIP) == [], "the VIP to leave r2")


def test_draining_ends_at_its_deadline(cluster):
    cluster.assign_roles()
    service = cluster.serve(drainSeconds=4)
    held = clients.hold(cluster.host, VIP, n=2, interval=0.05)
    held.wait_answers(8)
    cluster.label("r2", {})
    cluster.wait_weights(service, {"r1": 1, "r2": 0})
    cluster.wait_weights(service, {"r1": 1})
    held.stop()


def test_the_director_can_be_a_real_server_too(cluster):
    cluster.assign_roles(real_servers=("d", "r1")).serve()
    outcome = clients.requests(cluster.host, VIP, n=50)
    assert outcome.errors == [] and outcome.counts == {"d": 25, "r1": 25}


def test_several_ports_and_services_share_a_vip(cluster):
    cluster.assign_roles()
    cluster.start()
    web, other = virtual_service("web", VIP, 80), virtual_service("other", VIP, 8080, scheduler="wrr")
    cluster.apply(web, other)
    cluster.wait_serving(web)
    cluster.wait_serving(other)
    assert {key: s.scheduler for key, s in judges.services(cluster.lab["d"]).items()} == {f"{VIP}:80": "rr", f"{VIP}:8080": "wrr"}
    cluster.delete("other")
    wait_until(lambda: judges.services(cluster.lab["d"]).keys() == {f"{VIP}:80"}, "the other service to go")
    assert clients.requests(cluster.host, VIP, n=20).counts == {"r1": 10, "r2": 10}
