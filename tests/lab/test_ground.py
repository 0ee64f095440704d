"""The ground itself, without directway: direct routing by hand, faults, captures, API server."""

import pytest
from ground import Lab, arp, clients, judges, web
from ground.capture import Capture, arp_answers
from ground.place import PlaceSilent
from ground.wait import wait_until

VIP = "10.77.0.100"


@pytest.fixture(scope="module")
def ground_lab():
    with Lab() as lab:
        for name in ("d", "r1", "r2"):
            lab.node(name)
        lab.boot()
        yield lab


@pytest.fixture
def by_hand(ground_lab):
    """Direct routing set up with ip, sysctl and ipvsadm; undone afterwards."""
    lab = ground_lab
    for name in ("r1", "r2"):
        lab[name].sh(f"sysctl -qw net.ipv4.conf.eth0.arp_ignore=1 net.ipv4.conf.eth0.arp_announce=2; ip addr add {VIP}/32 dev lo")
    servers = [web.start(lab[name]) for name in ("r1", "r2")]
    lab["d"].sh(
        f"ip addr add {VIP}/32 dev eth0; ipvsadm -A -t {VIP}:80 -s rr;"
        f"ipvsadm -a -t {VIP}:80 -r {lab['r1'].ip} -g; ipvsadm -a -t {VIP}:80 -r {lab['r2'].ip} -g"
    )
    yield lab
    lab.boot()
    for server in servers:
        server.kill()
    lab["d"].sh(f"ip addr del {VIP}/32 dev eth0; ipvsadm -C || true")
    for name in ("r1", "r2"):
        lab[name].sh(f"ip addr del {VIP}/32 dev lo 2>/dev/null; sysctl -qw net.ipv4.conf.eth0.arp_ignore=0 net.ipv4.conf.eth0.arp_announce=0")


@pytest.mark.core
def test_rr_alternates(by_hand):
    outcome = clients.requests(by_hand.host, VIP, n=200)
    assert outcome.errors == []
    assert outcome.counts == {"r1": 100, "r2": 100}
    assert outcome.alternations == 199


@pytest.mark.core
def test_only_the_director_answers_arp(by_hand):
    with Capture(by_hand.host, "lan", f"arp and host {VIP}") as capture:
        by_hand.host.sh("ip neigh flush all")
        answers = judges.arping(by_hand.host, VIP, count=3)
        wait_until(lambda: len(arp_answers(capture.frames(), VIP)), "the answers in the capture")
    director = judges.mac(by_hand["d"], "eth0")
    assert answers == {director: 3}
    assert set(arp_answers(capture.frames(), VIP)) == {director}


@pytest.mark.core
def test_capture_shows_replies_bypassing_the_director(by_hand):
    lab = by_hand
    macs = {name: lab[name].nics[0].mac for name in ("d", "r1", "r2")}
    capture = Capture(lab.host, "lan", "tcp port 80")
    clients.requests(lab.host, VIP, n=10)
    frames = capture.stop()
    reply_sources = {f.src_mac for f in frames if f.sport == 80}
    to_servers = [f for f in frames if f.dport == 80 and f.src_mac == macs["d"]]
    assert reply_sources == {macs["r1"], macs["r2"]}
    assert {f.dst_mac for f in to_servers} == {macs["r1"], macs["r2"]}
    assert sum(f.payload for f in frames if f.sport == 80 and macs["d"] in (f.src_mac, f.dst_mac)) == 0


def test_capture_on_a_port(by_hand):
    capture = Capture(by_hand.host, by_hand["r1"].nics[0].port, "tcp port 80")
    outcome = clients.requests(by_hand.host, VIP, n=10)
    answered = {f.src_mac for f in capture.stop() if f.sport == 80}
    assert outcome.counts == {"r1": 5, "r2": 5}
    assert answered == {by_hand["r1"].nics[0].mac}


def test_held_connections_stay(by_hand):
    held = clients.hold(by_hand.host, VIP, n=6, interval=0.05)
    held.wait_answers(30)
    outcome = held.stop()
    assert outcome.errors == []
    assert [len(who) for who in outcome.servers_per_connection.values()] == [1] * 6


def test_cut_and_join(by_hand):
    lab = by_hand
    lab["r1"].cut()
    try:
        assert arp.who_has(lab.host, lab["r1"].ip) == {}
        assert lab["r1"].sh("hostname").strip() == "r1", "the line to a node is not a network"
    finally:
        lab["r1"].join()
    wait_until(lambda: arp.who_has(lab.host, lab["r1"].ip), "r1 to answer again")


def test_freeze_and_thaw(by_hand):
    lab = by_hand
    lab.require("freeze")
    lab["r2"].freeze()
    try:
        assert arp.who_has(lab.host, lab["r2"].ip) == {}
    finally:
        lab["r2"].thaw()
    wait_until(lambda: arp.who_has(lab.host, lab["r2"].ip), "r2 to answer again")


@pytest.mark.core
def test_power_off_and_reboot(by_hand):
    node = by_hand["r2"]
    before = judges.mac(node, "eth0")
    server = node.spawn("sleep 1000", "sleep.log")
    node.power_off()
    assert arp.who_has(by_hand.host, node.ip) == {}
    assert not server.running()
    with pytest.raises(PlaceSilent):
        node.sh("true")
    node.start()
    node.wait_ready()
    assert judges.addresses(node)["lo"] == ["127.0.0.1/8", "::1/128"]
    assert judges.mac(node, "eth0") == before


def test_a_node_runs_programs_of_this_machine(ground_lab):
    result = ground_lab["d"].run_binary("/usr/bin/bash", ["-c", "echo out; echo err >&2; exit 3"])
    assert (result.rc, result.out, result.err) == (3, "out\n", "err\n")
    assert ground_lab["d"].call("sleep 9", timeout=0.5).rc == 124


def test_background_processes(ground_lab):
    node = ground_lab["d"]
    process = node.spawn("python3 -uc 'print(1); import time; time.sleep(1000)'", "sleeper.log")
    wait_until(lambda: process.text() == "1\n", "its first line")
    assert process.running()
    assert process.stop() == -15
    assert not process.running()
    assert node.spawn("sleep 1000", "sleep.log").kill() == -9


def test_a_log_survives_power_loss(ground_lab):
    node = ground_lab["d"]
    process = node.spawn("bash -c 'echo last words; sleep 1000'", "words.log")
    wait_until(lambda: process.text() == "last words\n", "the log")
    node.reboot()
    assert process.text() == "last words\n"


@pytest.mark.core
def test_files_and_snapshots(ground_lab):
    node = ground_lab["d"]
    before = judges.snapshot(node)
    node.write("/run/manifests/a.yaml", "kind: Test\n")
    assert node.read("/run/manifests/a.yaml") == "kind: Test\n"
    node.sh(f"ip addr add {VIP}/32 dev lo; ipvsadm -A -t {VIP}:80 -s wrr; ipvsadm -a -t {VIP}:80 -r 10.77.0.11 -g -w 3")
    assert judges.weights(node, f"{VIP}:80") == {"10.77.0.11": 3}
    assert judges.services(node)[f"{VIP}:80"].scheduler == "wrr"
    assert f"ipvsadm: + -A -t {VIP}:80 -s wrr" in judges.difference(before, judges.snapshot(node))
    node.sh(f"ip addr del {VIP}/32 dev lo; ipvsadm -C")
    assert judges.snapshot(node) == before
