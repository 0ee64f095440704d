"""Where real servers carry the VIP: lo, a dummy device, a NIC of its own; and the host route."""

import pytest
from ground import arp, clients, judges
from ground.wait import wait_until
from support import VIP, virtual_service


@pytest.mark.core
def test_s3_vip_on_lo(fleet):
    fleet.assign_roles().serve()
    for name in ("r1", "r2"):
        assert judges.devices_with(fleet.lab[name], VIP) == ["lo"]
        assert f"{VIP}/32" in judges.addresses(fleet.lab[name])["lo"]
    assert judges.devices_with(fleet.lab["d"], VIP) == ["eth0", "lo"]
    assert clients.requests(fleet.host, VIP, n=20).counts == {"r1": 10, "r2": 10}


def test_s4_vip_on_a_dummy_device(cluster):
    cluster.assign_roles().serve(real_servers={"vipDevice": "vip0"})
    for name in ("r1", "r2"):
        node = cluster.lab[name]
        assert judges.devices_with(node, VIP) == ["vip0"]
        assert "dummy" in node.sh("ip -d link show vip0") and "UP" in node.sh("ip link show vip0")
    assert arp.who_has(cluster.host, VIP, tries=20).keys() == {cluster.site.mac("d")}
    assert clients.requests(cluster.host, VIP, n=20).counts == {"r1": 10, "r2": 10}


def test_s4_a_dummy_device_of_somebody_else_stays(cluster):
    cluster.assign_roles()
    node = cluster.lab["r1"]
    node.sh("ip link add vip0 type dummy; ip link set vip0 up; ip addr add 10.99.0.1/32 dev vip0")
    before = judges.snapshot(node)
    cluster.serve(real_servers={"vipDevice": "vip0"})
    assert judges.devices_with(node, VIP) == ["vip0"]
    cluster.delete()
    wait_until(lambda: judges.snapshot(node) == before, "r1 to be as it was, with its own vip0")
    node.sh("ip link del vip0")


def test_s5_vip_on_a_nic_that_carries_nothing_else(cluster):
    cluster.assign_roles(real_servers=("r3",))
    cluster.stop("r3")
    cluster.start("r3", args=["--vip-device", "eth1"])
    cluster.serve(real_servers={"vipDevice": "eth1"})
    node = cluster.lab["r3"]
    assert judges.devices_with(node, VIP) == ["eth1"]
    assert judges.sysctl(node, "net/ipv4/conf/eth1/arp_ignore") == 8
    assert arp.who_has(cluster.host, VIP, tries=20).keys() == {cluster.site.mac("d")}
    assert clients.requests(cluster.host, VIP, n=10).counts == {"r3": 10}


def test_s5_any_other_nic_is_refused(cluster):
    cluster.assign_roles(real_servers=("r1", "r2"))
    cluster.stop()
    cluster.start(args=["--vip-device", "eth*"])
    cluster.apply(virtual_service("good", "10.77.0.101"), virtual_service(real_servers={"vipDevice": "eth0"}))
    message = cluster.wait_condition("Ready", "False", "DeviceInUse")
    assert "eth0" in message and "carries 10.77.0." in message
    for name in ("r1", "r2"):
        assert judges.devices_with(cluster.lab[name], VIP) == []
        assert judges.sysctl(cluster.lab[name], "net/ipv4/conf/eth0/arp_ignore") != 8
    cluster.wait_serving(cluster.services["good"])
    cluster.wait_condition("Ready", "True", name="good")


def test_s5_a_device_that_nobody_allowed_is_not_made(cluster):
    """Whoever may write a VirtualService may name any device; the VIP stays where it was bound."""
    cluster.assign_roles()
    service = cluster.serve()
    cluster.apply(virtual_service(real_servers={"vipDevice": "wg0"}))
    message = cluster.wait_condition("Ready", "True", "Degraded")
    assert "DeviceNotAllowed" in message and "wg0" in message
    for name in ("r1", "r2"):
        assert judges.devices_with(cluster.lab[name], VIP) == ["lo"]
        assert not cluster.lab[name].ok("ip link show wg0")
    assert clients.requests(cluster.host, VIP, n=20).counts == {"r1": 10, "r2": 10}


def test_s9_host_route(cluster):
    cluster.assign_roles().serve(real_servers={"hostRoute": True})
    for name in ("r1", "r2"):
        routes = cluster.lab[name].sh("ip -4 route show table main").splitlines()
        assert any(r.startswith(f"{VIP} dev lo") for r in routes), routes
    assert clients.requests(cluster.host, VIP, n=20).counts == {"r1": 10, "r2": 10}
    cluster.delete()
    for name in ("r1", "r2"):
        wait_until(lambda: VIP not in cluster.lab[name].sh("ip route show table all"), f"the route to leave {name}")
