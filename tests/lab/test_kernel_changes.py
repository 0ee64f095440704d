"""What other programs change in the kernel while agents run."""

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
