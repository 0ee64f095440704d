"""A real server is taken out of use and back, while clients connect all the time."""

import json
import re

import pytest
from ground import clients, judges
from ground.objects import BACKEND
from ground.wait import wait_until
from support import VIP, virtual_service
from support.directors import more


@pytest.fixture
def cli(cluster):
    """directway's subcommands; at the end no node is drained."""
    cluster.assign_roles()
    yield cluster.lab["d"].directway
    assert (told := cluster.lab["d"].directway("undrain", "r2")).ok, told


def test_a_node_is_drained_and_used_again(cluster, cli):
    service = cluster.serve(drainSeconds=300)
    held = clients.hold(cluster.host, VIP, n=6, interval=0.05)
    held.wait_answers(24)
    with clients.steady(cluster.host, VIP) as load:
        more(load)
        assert (told := cli("drain", "r2")).ok, told
        cluster.wait_weights(service, {"r1": 1, "r2": 0})
        before = held.so_far().counts["r2"]
        wait_until(lambda: held.so_far().counts["r2"] > before + 10, "answers on connections that were open")
        left = f"still a destination of d for {VIP} (3 connections, "
        wait_until(lambda: f"r2 is being drained: {left}" in cli("status").out, "the status to say so")
        outcome = held.stop()
        assert outcome.errors == [] and all(len(who) == 1 for who in outcome.servers_per_connection.values()), outcome

        told = cli("drain", "r2", "--wait", timeout=60)
        assert told.ok and "r2: drained after" in told.out, told
        cluster.wait_weights(service, {"r1": 1})
        wait_until(lambda: judges.devices_with(cluster.lab["r2"], VIP) == [], "the VIP to leave r2, too")
        assert "r2 is drained; directway undrain r2" in cli("status").out
        assert clients.requests(cluster.host, VIP, n=10).counts == {"r1": 10}

        assert (told := cli("undrain", "r2")).ok, told
        cluster.wait_weights(service, {"r1": 1, "r2": 1})
        more(load)
        outcome = load.stop()
    assert outcome.errors == [], outcome
    # Not evenly: the kernel remembers ports that the client has used before.
    assert clients.requests(cluster.host, VIP, n=20).counts.keys() == {"r1", "r2"}


def test_a_connection_that_does_not_end_keeps_a_node_from_being_drained_for_a_while(cluster, cli):
    cluster.serve(drainSeconds=8)
    with clients.hold(cluster.host, VIP, n=2, interval=0.05) as held:
        held.wait_answers(8)
        told = cli("drain", "r2", "--wait", "--timeout", "1")
        assert not told.ok and "not drained after 1 s" in told.err and f"still a destination of d for {VIP}" in told.err, told
        told = cli("drain", "r2", "--wait", timeout=60)
        assert told.ok, told
    assert not (told := cli("drain", "nobody")).ok and "no node nobody" in told.err, told


def test_what_keeps_a_drain_is_told_while_it_lasts(cluster, cli):
    """One long connection: how many there are and for how long at most, and nothing any more when it has ended."""
    service = cluster.serve(drainSeconds=300)
    address = cluster.site.address("r2")

    def drains() -> list[tuple]:
        found = json.loads(cli("status", "-o", "json").out)["drains"]
        return [(it["address"], it["node"], it["director"], it["connections"], it["secondsLeft"]) for it in found]

    with clients.hold(cluster.host, VIP, n=2, interval=0.05) as held:
        held.wait_answers(8)
        assert drains() == []
        cluster.label("r2", {})
        cluster.wait_weights(service, {"r1": 1, "r2": 0})
        wait_until(lambda: [it[:4] for it in drains()] == [(address, "r2", "d", 1)], "the drain to be told")
        first = drains()[0][4]
        assert 250 < first <= 301
        wait_until(lambda: drains()[0][4] <= first - 3, "the time left to shrink")
        told = cli("status").out
        assert re.search(rf"DRAINING +NODE +DIRECTOR +CONNECTIONS +AT MOST\n{address} +r2 +d +1 +2\d\d s\n", told), told
    wait_until(lambda: drains() == [], "nothing to be left to tell")
    cluster.wait_weights(service, {"r1": 1})
    assert "DRAINING" not in cli("status").out


def test_a_persistent_client_leaves_a_drained_real_server_but_for_its_open_connection(cluster, cli):
    """`expire_quiescent_template` as the agent sets it: the client's template ends, the connection does not."""
    cluster.stop()
    cluster.start(args=["--ipvs-setting", "expire_quiescent_template=1"])
    service = cluster.serve(persistence={"timeoutSeconds": 300}, drainSeconds=300)
    held = clients.hold(cluster.host, VIP, n=1, interval=0.05)
    held.wait_answers(4)
    first = held.so_far().answers[0]
    other = {"r1": "r2", "r2": "r1"}[first]
    assert clients.requests(cluster.host, VIP, n=5).counts == {first: 5}, "the client has a template"
    assert (told := cli("drain", first)).ok, told
    try:
        cluster.wait_weights(service, {first: 0, other: 1})
        assert clients.requests(cluster.host, VIP, n=5).counts == {other: 5}
        before = held.so_far().counts[first]
        wait_until(lambda: held.so_far().counts[first] > before + 10, "answers on the connection that was open")
        assert "ExpireQuiescentTemplate" not in cli("status").out
        outcome = held.stop()
        assert outcome.errors == [] and outcome.counts.keys() == {first}, outcome
        cluster.wait_weights(service, {other: 1})
    finally:
        cli("undrain", first)
        cluster.stop()  # the next scenario's agents have other arguments
        cluster.start()


def test_a_cordoned_node_is_drained_where_its_virtual_service_says_so(cluster, cli):
    service = cluster.serve(real_servers={"cordonPolicy": "Drain"}, drainSeconds=300)
    cordon = lambda on: cluster.api.kubectl(f"{'cordon' if on else 'uncordon'} r2")
    held = clients.hold(cluster.host, VIP, n=2, interval=0.05)
    held.wait_answers(8)
    with clients.steady(cluster.host, VIP) as load:
        more(load)
        cordon(True)
        try:
            cluster.wait_weights(service, {"r1": 1, "r2": 0})
            before = held.so_far().counts["r2"]
            wait_until(lambda: held.so_far().counts["r2"] > before + 10, "answers on the connection that was open")
            assert held.stop().errors == []
            cluster.wait_weights(service, {"r1": 1})
            wait_until(lambda: judges.devices_with(cluster.lab["r2"], VIP) == [], "the VIP to leave r2")
            assert "node r2 is cordoned, so it is no real server of" in cli("status").out
            more(load)
        finally:
            cordon(False)
        cluster.wait_weights(service, {"r1": 1, "r2": 1})
        more(load)
        outcome = load.stop()
    assert outcome.errors == [], outcome


def test_a_node_is_drained_by_its_manifest(hosts):
    hosts.assign_roles()
    service = hosts.serve()
    with clients.steady(hosts.host, VIP) as load:
        more(load)
        hosts.annotations["r2"] = {"directway.dev/drain": "true"}
        hosts._write_node("r2")
        hosts.wait_weights(service, {"r1": 1})
        wait_until(lambda: judges.devices_with(hosts.lab["r2"], VIP) == [], "the VIP to leave r2", 20)
        hosts.annotations["r2"] = {"directway.dev/drain": "false"}
        hosts._write_node("r2")
        hosts.wait_weights(service, {"r1": 1, "r2": 1})
        more(load)
        outcome = load.stop()
    assert outcome.errors == [], outcome


def test_all_real_servers_are_replaced_at_once_and_no_request_is_lost(fleet):
    """One edit of the spec's selector: the old ones serve until a new one has the VIP and passed its checks."""
    fleet.assign_roles(real_servers=("r1", "r2", "r3"))
    groups = {"r1": "old", "r2": "new", "r3": "new"}
    for name, group in groups.items():
        fleet.label(name, {**BACKEND, "group": group})
    of_group = lambda group: virtual_service(real_servers={"nodeSelector": {"matchLabels": {"group": group}}}, drainSeconds=60)
    fleet.start()
    fleet.apply(of_group("old"))
    fleet.wait_serving(of_group("old"), ["r1"])
    with clients.steady(fleet.host, VIP) as load:
        more(load)
        for group, servers in (("new", ["r2", "r3"]), ("old", ["r1"])):
            fleet.apply(of_group(group))
            fleet.wait_serving(of_group(group), servers, timeout=40)
            more(load)
        outcome = load.stop()
    assert outcome.errors == [], outcome
    assert outcome.counts.keys() == {"r1", "r2", "r3"}
