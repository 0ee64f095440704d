"""Topologies beyond one segment, and NICs that come later."""

from ground import arp, judges
from ground.wait import wait_until


def test_three_nics_on_one_segment(new_lab):
    node = new_lab.node("multi", nics=["lan", ("lan", "10.77.0.21/24"), ("lan", "10.77.0.22/24")])
    new_lab.boot()
    assert judges.addresses(node)["eth2"] == ["10.77.0.22/24"]
    # ARP flux: by default each NIC answers for the addresses of all of them.
    assert set(arp.who_has(new_lab.host, "10.77.0.21")) == {nic.mac for nic in node.nics}


def test_a_second_segment_behind_a_router(new_lab):
    new_lab.segment("far", "10.78.0.0/24")
    router = new_lab.add_host("router", nics=[("lan", "10.77.0.1/24"), ("far", "10.78.0.1/24")], forward=True)
    near = new_lab.node("near", gateway="10.77.0.1")
    far = new_lab.node("far1", nics=["far"], gateway="10.78.0.1")
    both = new_lab.node("both", nics=["lan", "far"])
    new_lab.boot()
    assert near.ok(f"ping -c 1 -W 2 {far.ip}")
    assert far.ok(f"ping -c 1 -W 2 {both.nics[1].addresses[0].split('/')[0]}")
    assert arp.who_has(new_lab.host, far.ip) == {}, "ARP does not cross the router"
    assert set(arp.who_has(new_lab.host, far.ip, "far")) == {far.nics[0].mac}
    assert router.sh("sysctl -n net.ipv4.ip_forward").strip() == "1"


def test_cables_leave_the_labs_own_mac_as_it_is(new_lab):
    before = judges.mac(new_lab.host, "lan")
    for number in range(8):  # Their ports' MACs are random; without a fixed one the lab would take the lowest.
        new_lab.add_host(f"h{number}", nics=["lan"])
    assert judges.mac(new_lab.host, "lan") == before
    for number in range(8):
        new_lab.remove_host(f"h{number}")
    assert judges.mac(new_lab.host, "lan") == before


def test_vlan_and_bridge_inside_a_node(new_lab):
    # Between nodes, because this machine's kernel may lack VLANs; the nodes' kernels have them.
    node, other = new_lab.node("n", nics=[("lan", "")]), new_lab.node("o")
    new_lab.boot()
    node.sh("ip link add br0 type bridge && ip link set eth0 master br0 && ip link set br0 up && ip addr add 10.77.0.30/24 dev br0")
    node.sh("ip link add link br0 name br0.7 type vlan id 7 && ip link set br0.7 up && ip addr add 10.79.0.30/24 dev br0.7")
    other.sh("ip link add link eth0 name eth0.7 type vlan id 7 && ip link set eth0.7 up && ip addr add 10.79.0.31/24 dev eth0.7")
    mac = judges.mac(node, "br0")
    wait_until(lambda: set(judges.arping(other, "10.79.0.30", "eth0.7", count=1)) == {mac}, "the VLAN to answer")
    assert set(arp.who_has(new_lab.host, "10.77.0.30")) == {mac}


def test_a_stranger_answers(new_lab):
    stranger = new_lab.add_host("stranger", nics=[("lan", "10.77.0.66/24")])
    stranger.sh("ip addr add 10.77.0.100/32 dev eth0")
    assert set(arp.who_has(new_lab.host, "10.77.0.100")) == {judges.mac(stranger, "eth0")}


def test_a_nic_that_comes_later(new_lab):
    new_lab.require("hot-add")
    node = new_lab.node("n")
    new_lab.boot()
    name = node.add_nic("lan", ["10.77.0.40/24"])
    node.sh(f"ip addr add 10.77.0.40/24 dev {name}; ip link set {name} up")
    wait_until(lambda: arp.who_has(new_lab.host, "10.77.0.40"), "the new NIC to answer")
    assert judges.mac(node, name) == node.nics[1].mac
