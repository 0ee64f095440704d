"""Nodes that cannot do their part: IPVS or a scheduler missing, strangers, a second agent, no place for the ledger."""

from contextlib import ExitStack, contextmanager

import pytest
from ground import arp, clients, judges
from ground.agent import Agent
from ground.place import CommandFailed
from ground.wait import wait_until
from support import VIP, virtual_service
from support.directors import more, only_here, pair, wait_holder  # noqa: F401

MODULES = "/lib/modules/$(uname -r)/kernel/net/netfilter/ipvs"


@contextmanager
def hidden(node, source, target):
    """Hides a file or directory of the node's modules behind a bind mount."""
    node.sh(f"mkdir -p /run/empty; mount --bind {source} {target}")
    try:
        yield
    finally:
        node.sh(f"umount {target}")


def test_ipvs_missing(cluster):
    cluster.assign_roles()
    cluster.stop("d")
    director = cluster.lab["d"]
    director.sh("lsmod | awk '/^ip_vs_/{print $1}' | xargs -r rmmod; rmmod ip_vs")
    service = virtual_service()
    with hidden(director, "/run/empty", MODULES):
        cluster.start(wait=False)
        cluster.apply(service)
        message = cluster.wait_condition("Programmed", "False", "IPVSMissing")
        assert "ip_vs" in message
        cluster.wait_condition("Ready", "False")
        assert not cluster.holds(service)
        check = director.directway("check")
        assert not check.ok and "ip_vs" in check.out, check
        director.sh("! lsmod | grep -q ^ip_vs")
    cluster.wait_serving(service, timeout=40)
    cluster.wait_condition("Ready", "True")
    cluster.site.set_up_ipvs(director)


def test_scheduler_missing(cluster):
    cluster.assign_roles()
    director = cluster.lab["d"]
    director.sh("! lsmod | grep -q ^ip_vs_lblcr")
    good = cluster.serve(virtual_service("good", "10.77.0.101"))
    service = virtual_service(scheduler="lblcr")
    with hidden(director, "/dev/null", f"{MODULES}/ip_vs_lblcr.ko"):
        cluster.apply(service)
        message = cluster.wait_condition("Programmed", "False", "SchedulerMissing")
        assert "lblcr" in message
        assert judges.devices_with(director, VIP) in ([], ["lo"]), "not on the NIC: nothing would be served there"
        cluster.set_weight("r1", 2)
        cluster.wait_weights(good, {"r1": 2, "r2": 1})
    cluster.wait_serving(service, timeout=40)


def test_a_vip_stays_while_anything_behind_it_is_served(cluster):
    """Both directors lack a scheduler that another object on the VIP asks for, and then the served object, too."""
    names = holder, _ = pair(cluster)
    preferred = {"directors": {"preferred": holder}}
    weights = lambda: [judges.weights(cluster.lab[name], f"{VIP}:80") for name in names]
    with ExitStack() as stack:
        for name in names:
            cluster.lab[name].sh("! lsmod | grep -q '^ip_vs_lblc '")
            stack.enter_context(hidden(cluster.lab[name], "/dev/null", f"{MODULES}/ip_vs_lblc.ko"))
        with clients.steady(cluster.host, VIP) as load:
            more(load)
            cluster.apply(virtual_service("other", VIP, 8080, scheduler="lblc", **preferred))
            cluster.wait_condition("Programmed", "False", "SchedulerMissing", name="other")
            # What is served there goes on changing, and is not blamed.
            cluster.set_weight("r1", 2)
            wait_until(lambda: weights() == [{cluster.site.address("r1"): 2, cluster.site.address("r2"): 1}] * 2, "r1's new weight")
            cluster.label("r2", {})
            wait_until(lambda: weights() == [{cluster.site.address("r1"): 2}] * 2, "r2 to be gone")
            cluster.wait_condition("Programmed", "True")
            cluster.apply(virtual_service(scheduler="lblc", **preferred))
            cluster.wait_condition("Programmed", "False", "SchedulerMissing")
            wait_holder(cluster, holder)
            more(load)
            outcome = load.stop()
    assert outcome.errors == [], outcome


def test_a_vip_goes_to_a_director_that_serves_everything_behind_it(cluster):
    """The preferred director lacks a scheduler that a second object on the VIP asks for; the other one has it. No request is lost."""
    holder, other = pair(cluster)
    preferred = {"directors": {"preferred": holder}}
    cluster.lab[holder].sh("! lsmod | grep -q '^ip_vs_ovf '")
    with hidden(cluster.lab[holder], "/dev/null", f"{MODULES}/ip_vs_ovf.ko"), clients.steady(cluster.host, VIP) as load:
        more(load)
        cluster.apply(virtual_service("second", VIP, 8080, scheduler="ovf", **preferred))
        wait_holder(cluster, other, timeout=60)
        more(load)
        assert f"{VIP}:8080" in judges.services(cluster.lab[other])
        for name in ("web", "second"):
            cluster.wait_condition("Programmed", "True", name=name)

        def told() -> bool:
            # The condition follows the reports, which come once a second at most.
            message = cluster.wait_condition("Programmed", "True", name="second")
            assert message.startswith(f"{other} holds {VIP}; {holder} does not serve everything behind it") and "ovf" in message, message
            return True

        wait_until(told, "the condition to name the director that was passed over", 15)
        state = cluster.api.get(f"/apis/directway.dev/v1alpha1/nodestates/{holder}")["status"]
        assert state["incomplete"] == [VIP], state
        refused = cluster.lab[other].directway("failover", VIP, "--to", holder)
        assert not refused.ok and "does not serve everything" in str(refused), refused
        more(load)
        outcome = load.stop()
    assert outcome.errors == [], outcome


@pytest.mark.vm
def test_a_stranger_has_the_vip(fleet):
    """The director does not claim the VIP before the stranger is gone."""
    fleet.assign_roles()
    fleet.start()
    stranger, vip = fleet.site.router, "10.77.0.150"
    stranger.sh(f"ip addr add {vip}/32 dev eth0")
    mac = judges.mac(stranger, "eth0")
    service = virtual_service(vip=vip)
    try:
        fleet.apply(service)
        if fleet.source == "kubernetes":
            assert mac in fleet.wait_condition("VIPConflict", "True", "VIPConflict").lower()
            fleet.wait_condition("Ready", "False")
        said = lambda: any(vip in line and mac in line for line in fleet.lab["d"].agent.log().lower().splitlines())
        wait_until(said, "the agent's log to name the stranger's MAC")
        assert not fleet.holds(service)
        assert arp.who_has(fleet.host, vip, tries=5).keys() == {mac}
    finally:
        stranger.sh(f"ip addr del {vip}/32 dev eth0")
    fleet.wait_serving(service, timeout=40)
    if fleet.source == "kubernetes":
        fleet.wait_condition("VIPConflict", "False")
        fleet.wait_condition("Ready", "True")


def test_a_vip_that_no_director_can_answer_for_is_bound_nowhere(cluster):
    vip, director = "10.99.0.5", cluster.lab["d"]
    cluster.assign_roles()
    cluster.start()
    director.sh("sysctl -qw net.ipv4.conf.all.arp_ignore=2")
    try:
        cluster.apply(virtual_service(vip=vip, directors={"interface": "eth0"}))
        cluster.wait_condition("Programmed", "False", "CannotAnswerARP")
        for node in map(cluster.lab.__getitem__, cluster.assigned):
            assert judges.devices_with(node, vip) == [], node.name
    finally:
        director.sh("sysctl -qw net.ipv4.conf.all.arp_ignore=0")
    wait_until(lambda: judges.devices_with(director, vip) == ["eth0", "lo"], "the director to hold the VIP", 40)
    wait_until(lambda: judges.devices_with(cluster.lab["r1"], vip) == ["lo"], "a real server to bind it", 20)


def test_a_stranger_takes_the_vip_later(cluster):
    """The holder goes on serving and reports the conflict."""
    cluster.assign_roles()
    vip = "10.77.0.151"
    service = cluster.serve(vip=vip)
    assert clients.requests(cluster.host, vip, n=10).errors == []
    stranger = cluster.site.router
    stranger.sh(f"ip addr add {vip}/32 dev eth0")
    try:
        message = cluster.wait_condition("VIPConflict", "True", "VIPConflict", timeout=40)
        assert judges.mac(stranger, "eth0") in message.lower()
        assert cluster.holds(service)
    finally:
        stranger.sh(f"ip addr del {vip}/32 dev eth0")
    cluster.wait_condition("VIPConflict", "False", timeout=60)


@pytest.mark.vm
def test_two_agents_on_one_node(cluster):
    """The second one waits; it takes over when the first is gone."""
    cluster.assign_roles()
    service = cluster.serve()
    director = cluster.lab["d"]
    second = Agent(director, "kubernetes", admin_port=8091, log="second.log")
    wait_until(lambda: "agent.lock" in second.log(), "the second agent to say what it waits for")
    with pytest.raises(CommandFailed):
        second.get("/readyz")
    cluster.set_weight("r1", 2)
    cluster.wait_weights(service, {"r1": 2, "r2": 1})
    assert cluster.lab["d"].agent.running() and second.running()
    director.agent.kill()
    second.wait_ready()
    cluster.set_weight("r1", 5)
    cluster.wait_weights(service, {"r1": 5, "r2": 1})
    assert second.stop() == 0


def test_a_read_only_run_directory(cluster):
    """Without a ledger the agent must change nothing, because it could not undo it."""
    cluster.assign_roles()
    cluster.stop()
    node = cluster.lab["r1"]
    node.sh("mkdir -p /run/directway; mount -t tmpfs -o ro tmpfs /run/directway")
    before = judges.snapshot(node)
    service = virtual_service()
    try:
        cluster.start(wait=False)
        cluster.apply(service)
        cluster.wait_weights(service, {"r2": 1})
        said = lambda: "r1 (10.77.0.12): LedgerUnwritable: /run/directway" in cluster.wait_condition("Ready", "True", "Degraded")
        wait_until(said, "the status to say why r1 gets nothing")
        assert judges.snapshot(node) == before
    finally:
        node.sh("umount /run/directway")
    cluster.wait_serving(service, timeout=40)


def test_a_missing_run_directory(cluster):
    cluster.assign_roles()
    cluster.stop()
    node = cluster.lab["r1"]
    node.sh("rm -rf /run/directway")
    service = cluster.serve()
    node.sh("test -s /run/directway/ledger.json")
    cluster.stop("r1")
    node.sh("mkdir -p /run/elsewhere")
    lost = Agent(node, "kubernetes", run_dir="/run/no/such/dir", admin_port=8091, log="lost.log")
    wait_until(lambda: "/run/no/such/dir" in lost.log() and "--run-dir" in lost.log(), "its log to name the directory")
    assert judges.devices_with(node, VIP) == ["lo"], "what is there stays: it serves"
    lost.kill()
    cluster.start("r1")
    cluster.wait_serving(service)


@pytest.mark.core
def test_a_table_that_somebody_emptied_is_back_at_once(fleet):
    """kube-proxy empties it when it starts in nftables mode. IPVS sends no notification, so the agent looks every second."""
    service = fleet.assign_roles().serve()
    with_load = clients.load(fleet.host, VIP)
    with_load.wait_answers(20)
    fleet.lab["d"].sh("ipvsadm -C")
    # Sooner than the next full look at the kernel.
    fleet.wait_weights(service, {"r1": 1, "r2": 1}, timeout=5)
    with_load.wait_answers(len(with_load.so_far().answers) + 20)
    outcome = with_load.stop()
    print(f"\n{outcome}")
