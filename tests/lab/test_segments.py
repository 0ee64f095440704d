"""Real servers on other segments: one that direct routing cannot reach, one that no ARP request for the VIP reaches."""

from ground import arp, clients, judges
from ground.capture import Capture
from ground.wait import wait_until
from support import VIP, virtual_service
from support.objects import key_of


def test_s10_a_real_server_behind_a_router_is_reported_and_gets_nothing(cluster):
    cluster.assign_roles(real_servers=("r1", "far"))
    cluster.start()
    service = virtual_service()
    with Capture(cluster.host, cluster.lab["far"].nics[0].port, f"host {VIP} and tcp") as capture:
        cluster.apply(service)
        cluster.wait_serving(service, real_servers=["r1"])
        count = {"ready": 1, "total": 2}
        wait_until(lambda: cluster.get()["status"]["realServers"] == count, "the count of real servers")
        assert clients.requests(cluster.host, VIP, n=20).counts == {"r1": 20}
    assert capture.stop() == []
    report = cluster.lab["d"].directway("status").out
    line = next(line for line in report.splitlines() if "far" in line or cluster.site.address("far") in line)
    assert "NotOnSegment" in line, report


def test_s10_a_host_outside_the_cluster_too(cluster):
    cluster.assign_roles(real_servers=("r1",))
    cluster.site.up("far")
    cluster.start()
    service = virtual_service(real_servers={"external": [{"address": cluster.site.address("far"), "weight": 1}]})
    cluster.apply(service)
    cluster.wait_serving(service, real_servers=["r1"])
    wait_until(lambda: cluster.get()["status"]["realServers"] == {"ready": 1, "total": 2}, "the count of real servers")
    assert "NotOnSegment" in cluster.lab["d"].directway("status").out


def test_s11_without_a_nic_in_the_vips_network_no_arp_step(cluster):
    cluster.assign_roles(real_servers=("inner",))
    node = cluster.lab["inner"]
    service = virtual_service()
    cluster.stop("inner")
    cluster.apply(service)
    plan = node.directway("plan", "--node-name", "inner").out
    assert f"ip addr add {VIP}/32 dev lo" in plan and "sysctl" not in plan, plan
    assert "no ARP step needed" in plan, plan
    cluster.start()
    cluster.wait_serving(service)
    assert judges.arp_mode(node, "eth0") == (0, 0)
    assert arp.who_has(cluster.host, VIP, tries=20).keys() == {cluster.site.mac("d")}
    assert clients.requests(cluster.host, VIP, n=10).counts == {"inner": 10}


def test_a_vip_of_no_nics_network_is_held_where_the_directors_interface_is_named(fleet):
    """An ARP request for it may reach every host on the segment, so every node but the holder must be quiet."""
    fleet.assign_roles(directors=("d", "r3"), real_servers=("r1", "r2"))
    fleet.start()
    everyone = {fleet.site.address(name): 1 for name in ("r1", "r2")}
    service = virtual_service(vip="10.100.0.1", directors={"interface": "eth0", "preferred": "d"})
    fleet.apply(service)
    for name in ("d", "r3"):
        wait_until(lambda: judges.weights(fleet.lab[name], key_of(service)) == everyone, f"{name} to have both destinations")
    wait_until(lambda: fleet.holds(service, fleet.lab["d"]), "the VIP on the NIC of d")
    for name in ("d", "r1", "r2", "r3"):
        assert judges.arp_mode(fleet.lab[name], "eth0") == (1, 2), name
    assert arp.who_has(fleet.host, "10.100.0.1", tries=20).keys() == {fleet.site.mac("d")}
    fleet.host.sh("ip route add 10.100.0.1/32 dev lan")
    try:
        assert clients.requests(fleet.host, "10.100.0.1", n=10).counts == {"r1": 5, "r2": 5}
    finally:
        fleet.host.sh("ip route del 10.100.0.1/32 dev lan")


def test_an_external_real_server_that_is_quiet(cluster):
    """Its administrator binds the VIP; the director probes by ARP whether the host is quiet."""
    cluster.assign_roles(real_servers=())
    outsider = cluster.site.node("r3")
    outsider.sh(f"sysctl -qw net.ipv4.conf.eth0.arp_ignore=1 net.ipv4.conf.eth0.arp_announce=2; ip addr add {VIP}/32 dev lo")
    try:
        cluster.start()
        address = cluster.site.address("r3")
        service = virtual_service(real_servers={"nodeSelector": None, "external": [{"address": address, "weight": 2}]})
        cluster.apply(service)
        cluster.wait_weights(service, {"r3": 2})
        wait_until(lambda: cluster.holds(service), "the VIP on the director")
        assert clients.requests(cluster.host, VIP, n=10).counts == {"r3": 10}
        cluster.delete()
        wait_until(lambda: not cluster.holds(service), "the VIP to leave the director")
    finally:
        outsider.sh(f"ip addr del {VIP}/32 dev lo; sysctl -qw net.ipv4.conf.eth0.arp_ignore=0 net.ipv4.conf.eth0.arp_announce=0")


def test_an_external_real_server_that_answers_arp_gets_no_weight(cluster):
    cluster.assign_roles(real_servers=("r1",))
    # An agent remembers for a minute which nodes were directors, and the outsider may have been one in another scenario.
    cluster.stop()
    outsider = cluster.site.node("r3")
    outsider.sh(f"ip addr add {VIP}/32 dev lo")
    try:
        cluster.start()
        service = virtual_service(real_servers={"external": [{"address": cluster.site.address("r3"), "weight": 1}]})
        cluster.apply(service)
        message = cluster.wait_condition("VIPConflict", "True", "VIPConflict")
        assert cluster.site.mac("r3") in message.lower()
        assert not cluster.holds(service), "claimed although another answers"
        assert "r3" not in cluster.weights(service)
        cluster.delete()
    finally:
        outsider.sh(f"ip addr del {VIP}/32 dev lo")
