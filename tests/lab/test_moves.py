"""VIPs that move on request, and VIPs that must not move."""

import os

import pytest
from ground import clients, judges
from ground.capture import Capture
from ground.place import CommandFailed
from ground.wait import wait_until
from support import VIP, virtual_service
from support.directors import (  # noqa: F401
    DIRECTORS, answering, holders, keep_open, more, not_kept, only_here, pair, wait_alone, wait_destinations, wait_holder,
)

# How often a new VIP is given to both directors at once.
ROUNDS = int(os.environ.get("DIRECTWAY_ROUNDS") or 10)


def test_h3_a_holder_without_api_server_holds(cluster):
    holder, _ = pair(cluster)
    forwarder = cluster.lab.forwarder(cluster.lab[holder])
    with clients.steady(cluster.host, VIP) as load, Capture(cluster.host, "lan", "arp") as capture:
        forwarder.cut()
        try:
            more(load, 2000, 30)
        finally:
            forwarder.heal()
        more(load)
    assert answering(cluster, capture.stop()) == {holder}
    assert load.stop().errors == []


def test_h4_a_dead_or_frozen_agent_moves_nothing(cluster):
    holder, _ = pair(cluster)
    agent = cluster.lab[holder].agent
    with clients.steady(cluster.host, VIP) as load, Capture(cluster.host, "lan", "arp") as capture:
        agent.pause()
        more(load, 2000, 30)
        agent.resume()
        more(load)
        agent.kill()
        more(load, 1000, 30)
        cluster.start(holder)
        more(load)
    assert answering(cluster, capture.stop()) == {holder}
    assert load.stop().errors == []


def test_h5_an_agent_gone_for_good_loses_its_vips(cluster):
    """The kernel removes the VIPs when no agent has renewed their lifetime, and the standby's probes find no holder."""
    cluster.assign_roles(directors=DIRECTORS)
    cluster.stop(*DIRECTORS)
    cluster.start(*DIRECTORS, args=["--vip-lifetime", "10"])
    holder, standby = pair(cluster)
    assert "valid_lft" in cluster.lab[holder].sh(f"ip addr show dev eth0 to {VIP}")
    with clients.steady(cluster.host, VIP) as load:
        more(load, 2600, 30)
        assert holders(cluster) == [holder], "renewed as long as the agent is there"
        cluster.lab[holder].agent.kill()
        wait_alone(cluster, load, standby)
    outcome = load.stop()
    print(f"\nH5: {outcome}; outage {outcome.outage * 1e3:.0f} ms")
    cluster.stop()
    cluster.start()


def test_h5_all_agents_restarted_without_api_server_renew_their_vips(cluster):
    """They work with what was known last: the VIP stays beyond its lifetime, and with its holder gone the standby claims it."""
    names = (*DIRECTORS, "r1", "r2")
    lifetime = ["--vip-lifetime", "10"]
    cluster.assign_roles(directors=DIRECTORS)
    cluster.stop(*DIRECTORS)
    cluster.start(*DIRECTORS, args=lifetime)
    holder, standby = pair(cluster)
    cluster.api.stop()
    try:
        with clients.steady(cluster.host, VIP) as load:
            cluster.stop(*names)
            cluster.start(*names, wait=False, args=lifetime)
            more(load, 2600, 40)
            assert holders(cluster) == [holder]
            with pytest.raises(CommandFailed, match="serves what was known at"):
                cluster.lab[holder].agent.get("/readyz")
            cluster.lab[holder].agent.kill()
            wait_alone(cluster, load, standby)
        print(f"\nH5: {load.stop()}")
    finally:
        cluster.api.start()
        cluster.api.wait_ready()
    cluster.stop()
    cluster.start()


def test_h5_an_agent_that_stood_still_until_its_vip_was_withdrawn_does_not_take_it_again(cluster):
    cluster.assign_roles(directors=DIRECTORS)
    cluster.stop(*DIRECTORS)
    cluster.start(*DIRECTORS, args=["--vip-lifetime", "10"])
    holder, standby = pair(cluster)
    # Nobody is preferred: the VIP stays with who took it.
    cluster.apply(virtual_service(scheduler="mh"))
    for _ in range(2):
        agent = cluster.lab[holder].agent
        agent.pause()
        wait_holder(cluster, standby, timeout=20)
        with clients.steady(cluster.host, VIP) as load, Capture(cluster.host, "lan", "arp") as capture:
            agent.resume()
            more(load, 200, 30)
        assert answering(cluster, capture.stop()) == {standby}
        assert load.stop().errors == []
        holder, standby = standby, holder
    cluster.stop()
    cluster.start()


def test_h6_a_planned_move_loses_nothing(cluster):
    """The VIP moves by preference, there and back; then the holder is unlabelled. Long connections stay, none is refused."""
    holder, standby = pair(cluster)
    kept = keep_open(cluster)
    with clients.steady(cluster.host, VIP) as load:
        more(load)
        cluster.apply(virtual_service(scheduler="mh", directors={"preferred": standby}))
        wait_holder(cluster, standby, timeout=30)
        more(load)
        cluster.apply(virtual_service(scheduler="mh", directors={"preferred": holder}))
        wait_holder(cluster, holder, timeout=30)
        more(load)
        cluster.label(holder, {})
        wait_holder(cluster, standby, timeout=30)
        more(load)
    outcome, lost = load.stop(), not_kept(kept)
    print(f"\nH6: {outcome}; outage {outcome.outage * 1e3:.0f} ms")
    assert outcome.errors == [], outcome
    assert lost == []


READS = "virtualservices.directway.dev,nodestates.directway.dev,nodes,endpointslices.discovery.k8s.io,configmaps"


@pytest.fixture
def mover(cluster):
    """A service account that may read all and change one VirtualService, `other`."""
    made = {
        "serviceaccount mover": "-n default",
        "clusterrole mover": f"--verb=get,list,watch --resource={READS}",
        "clusterrolebinding mover": "--clusterrole=mover --serviceaccount=default:mover",
        "role mover": "-n default --verb=patch --resource=virtualservices.directway.dev --resource-name=other",
        "rolebinding mover": "-n default --role=mover --serviceaccount=default:mover",
    }
    for what, words in made.items():
        cluster.api.kubectl(f"create {what} {words}")
    yield "default/mover"
    for what in made:
        cluster.api.kubectl(f"delete {what}" + ("" if what.startswith("cluster") else " -n default"))


def test_h6_a_failover_that_may_not_change_all_of_a_vip_changes_nothing(cluster, mover):
    """Two VirtualServices share the VIP. If one alone got another director, the other one would be refused for that."""
    holder, standby = pair(cluster)
    cluster.apply(virtual_service("other", VIP, 8080, scheduler="mh", directors={"preferred": holder}))
    cluster.wait_condition("Accepted", "True", name="other")
    specs = lambda: {name: cluster.get(name)["spec"] for name in ("other", "web")}
    before, node = specs(), cluster.lab["r1"]
    env = {"KUBECONFIG": node.kubeconfig(mover)}
    told = node.run_binary(cluster.lab.directway(), ["failover", VIP, "--to", standby], 60, env)
    assert not told.ok and "default/web" in told.err and "forbidden" in told.err, told
    assert specs() == before and holders(cluster) == [holder]


def test_h6_a_cordoned_director_gives_its_vips_away(cluster):
    holder, standby = pair(cluster)
    with clients.steady(cluster.host, VIP) as load:
        more(load)
        cluster.api.kubectl(f"cordon {holder}")
        try:
            wait_holder(cluster, standby, timeout=30)
            more(load)
        finally:
            cluster.api.kubectl(f"uncordon {holder}")
    outcome = load.stop()
    print(f"\nH6: {outcome}; outage {outcome.outage * 1e3:.0f} ms")
    assert outcome.errors == [], outcome


@pytest.mark.soak
def test_h9_both_start_at_once(cluster):
    """The VIP is created again and again: each time one director claims it, and the other never does."""
    cluster.assign_roles(directors=DIRECTORS)
    cluster.start()
    for round_ in range(ROUNDS):
        with Capture(cluster.host, "lan", "arp") as capture:
            cluster.apply(virtual_service(scheduler="mh"))
            holder = wait_holder(cluster, *DIRECTORS)
        assert answering(cluster, capture.stop()) <= {holder}, f"round {round_}"
        cluster.delete()
        wait_until(lambda: holders(cluster) == [], "nobody to hold the VIP")


def test_h9_the_whole_site_is_powered_off_and_on(cluster):
    holder, standby = pair(cluster)
    names = (*DIRECTORS, "r1", "r2")
    cluster.site.discard(*names)
    with Capture(cluster.host, "lan", "arp") as capture:
        cluster.site.up(*names)
        cluster.start()
        wait_holder(cluster, holder, timeout=30)
        wait_destinations(cluster, holder)
    assert len(answering(cluster, capture.stop())) <= 2, "it may move once to where it should be"
    assert clients.requests(cluster.host, VIP, n=20).errors == []


def test_h10_the_vip_is_deleted_by_hand(cluster):
    """The holder's agent puts the VIP back; if that agent is dead, the standby claims it."""
    holder, standby = pair(cluster)
    node = cluster.lab[holder]
    node.sh(f"ip addr del {VIP}/32 dev eth0")
    wait_holder(cluster, *DIRECTORS)
    with clients.steady(cluster.host, VIP) as load:
        more(load)
        holder = wait_holder(cluster, *DIRECTORS)
        standby = next(name for name in DIRECTORS if name != holder)
        node = cluster.lab[holder]
        node.agent.kill()
        node.sh(f"ip addr del {VIP}/32 dev eth0")
        wait_alone(cluster, load, standby)
    outcome = load.stop()
    print(f"\nH10: {outcome}; outage {outcome.outage * 1e3:.0f} ms")
    cluster.start(holder)


def test_h11_a_stranger_answers(cluster):
    """A stranger before the claim: no director claims, and every node goes on reaching it. A stranger later: the holder stays, and the condition names both MACs."""
    cluster.assign_roles(directors=DIRECTORS)
    cluster.start()
    stranger = cluster.lab.add_host("stranger")
    stranger.sh(f"ip addr add {VIP}/32 dev eth0")
    cluster.apply(virtual_service(scheduler="mh"))
    mac = judges.mac(stranger, "eth0")
    message = cluster.wait_condition("VIPConflict", "True")
    assert mac in message
    for node in map(cluster.lab.__getitem__, cluster.assigned):
        assert judges.devices_with(node, VIP) == [] and judges.services(node) == {}, node.name
        assert node.ok(f"ping -c 1 -W 2 {VIP}"), f"{node.name} no longer reaches the host that has the address"
    stranger.sh(f"ip addr del {VIP}/32 dev eth0")
    holder = wait_holder(cluster, *DIRECTORS, timeout=20)
    cluster.wait_condition("VIPConflict", "False", timeout=30)
    stranger.sh(f"ip addr add {VIP}/32 dev eth0")
    told = lambda: cluster.site.mac(holder) in (message := cluster.wait_condition("VIPConflict", "True", timeout=20)) and mac in message
    wait_until(told, "both MACs in the condition")
    assert holders(cluster) == [holder]
    of_vip = f'vip="{VIP}"'
    metrics = lambda: {name for name in cluster.lab[holder].agent.metrics() if of_vip in name}
    held = f"directway_vip_holder{{{of_vip}}}"
    conflict = f'directway_vip_conflict{{{of_vip},interface="eth0",mac="{cluster.site.mac(holder)}",rival="{mac}",node=""}}'
    assert metrics() == {held, conflict}
    cluster.lab.remove_host("stranger")
    cluster.wait_condition("VIPConflict", "False", timeout=30)
    # Whichever director has it: ten seconds after a claim it may go to the preferred one.
    of_all = lambda: {name for director in DIRECTORS for name in cluster.lab[director].agent.metrics() if of_vip in name}
    wait_until(lambda: of_all() == {held}, "the metrics to tell of a holder alone")
