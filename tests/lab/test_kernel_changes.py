"""What other programs change in the kernel while agents run."""

import json

import pytest
from ground import clients, judges
from ground.wait import wait_until
from support import VIP

HTTP = f"{VIP}:80"


def destinations(node):
    return {d.address: (d.method, d.weight) for d in judges.services(node)[HTTP].destinations.values()}


def test_destinations_of_others_get_no_connections(cluster):
    """In directway's own service: another port, another forwarding method, another host."""
    cluster.assign_roles()
    cluster.stop("d")
    cluster.start("d", args=["--max-interval", "2"])
    service = cluster.serve(drainSeconds=0)
    director, r1 = cluster.director(), cluster.site.address("r1")
    before = destinations(director)
    director.sh(
        f"ipvsadm -a -t {HTTP} -r {r1}:8080 -m -w 50; ipvsadm -a -t {HTTP} -r 10.77.0.99:80 -g -w 50; "
        f"ipvsadm -e -t {HTTP} -r {r1}:80 -m -w 50"
    )
    wait_until(lambda: destinations(director) == before, f"{before} again", 15)
    assert clients.requests(cluster.host, VIP, n=20).counts == {"r1": 10, "r2": 10}
    assert "del_foreign_destination" in director.agent.log()
    cluster.wait_weights(service, {"r1": 1, "r2": 1})
    cluster.stop("d")


def repairs(node) -> dict[str, dict]:
    """What the node's agent says that it put right, by op."""
    status = json.loads(node.agent.get("/state"))["status"]
    return {entry["op"]: entry for entry in status.get("repairs", [])}


def test_what_is_changed_by_hand_in_ipvs_is_put_right_in_seconds_and_told(fleet):
    service = fleet.assign_roles().serve(scheduler="wrr")
    director, r1 = fleet.director(), fleet.site.address("r1")
    before = destinations(director)
    changes = {
        f"ipvsadm -d -t {HTTP} -r {r1}:80": "add_destination",
        f"ipvsadm -e -t {HTTP} -r {r1}:80 -g -w 9": "edit_destination",
        f"ipvsadm -E -t {HTTP} -s rr": "edit_service",
        f"ipvsadm -D -t {HTTP}": "add_service",
    }
    for change, op in changes.items():
        known = repairs(director).get(op, {"count": 0})["count"]
        director.sh(change)
        wait_until(lambda op=op, known=known: repairs(director).get(op, {"count": 0})["count"] > known, f"{op} after {change}", 10)
        fleet.wait_weights(service, {"r1": 1, "r2": 1}, 5)
        assert destinations(director) == before
    told = repairs(director)["edit_destination"]
    assert told["example"] == f"ipvsadm -e -t {HTTP} -r {r1}:80 -g -w 1" and told["first"] <= told["last"], told


def test_who_undoes_the_same_again_and_again_is_named(cluster):
    service = cluster.assign_roles().serve()
    node = cluster.lab["r1"]
    rival = node.spawn(["bash", "-c", f"while sleep 0.1; do ip addr del {VIP}/32 dev lo; done"], "rival.log")
    try:
        message = cluster.wait_condition("NodeConflict", "True", "Overwritten", timeout=20)
        assert message.startswith(f"{VIP} on r1: another program") and "bind" in message, message
        count = repairs(node)["bind"]["count"]
        # Ten times a second it is deleted; no more than once in five seconds it is put back.
        load = clients.steady(cluster.host, VIP, interval=0.1)
        with load:
            load.wait_answers(60)
        assert repairs(node)["bind"]["count"] - count <= 4
        assert load.stop().errors == [], "r2 serves"
    finally:
        rival.kill()
    cluster.wait_serving(service)
    assert clients.requests(cluster.host, VIP, n=20).counts == {"r1": 10, "r2": 10}


@pytest.mark.parametrize("setting", ["arp_ignore", "arp_announce"])
def test_a_real_server_that_is_no_longer_quiet_is_made_so_before_a_periodic_pass(cluster, setting):
    cluster.assign_roles().serve()
    node = cluster.lab["r1"]
    for _ in range(3):
        node.sh(f"sysctl -qw net.ipv4.conf.eth0.{setting}=0")
        wait_until(lambda: judges.arp_mode(node, "eth0") == (1, 2), "r1 to be quiet", 5)


def test_an_interface_is_given_back_under_its_new_name(cluster):
    cluster.assign_roles(real_servers=("r1", "r3")).serve()
    node = cluster.lab["r3"]
    assert judges.arp_mode(node, "eth1") == (1, 2)
    addresses = judges.addresses(node)["eth1"]
    rename = lambda old, new: node.sh(f"ip link set {old} down; ip link set {old} name {new}; ip link set {new} up")
    rename("eth1", "lan1")
    wait_until(lambda: judges.arp_mode(node, "lan1") == (1, 2), "lan1 to be quiet")
    cluster.delete()
    wait_until(lambda: judges.arp_mode(node, "lan1") == (0, 0), "the settings to be given back")
    rename("lan1", "eth1")
    assert judges.addresses(node)["eth1"] == addresses
