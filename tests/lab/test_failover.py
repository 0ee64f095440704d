"""Two directors: who holds the VIP, who takes over, and what clients see of it."""

import time

import pytest
from ground import clients, judges
from ground.capture import Capture, arp_answers
from ground.wait import wait_until
from support import VIP, virtual_service

DIRECTORS = ("d", "r3")
# A connection is begun every 5 ms. Without any fault, the lab itself has gaps of some 20 ms.
NOISE = 0.15


@pytest.fixture(autouse=True)
def only_here(fleets):
    yield
    for node in map(fleets.town.lab.__getitem__, DIRECTORS):
        if node.powered:
            node.sh("sysctl -qw net.ipv4.vs.sloppy_tcp=0")


def holders(fleet, vip=VIP, names=DIRECTORS):
    """The directors that have the VIP on a NIC."""
    alive = [name for name in names if fleet.lab[name].powered]
    return [name for name in alive if judges.devices_with(fleet.lab[name], vip) not in ([], ["lo"])]


def wait_holder(fleet, *names, timeout=15):
    """Waits until one of `names` alone holds the VIP."""
    def reached():
        found = holders(fleet)
        assert len(found) == 1 and found[0] in names, f"held by {found}"
        return found[0]

    return wait_until(reached, f"one of {names} to hold {VIP}", timeout)


def wait_destinations(fleet, name, count=2, timeout=15):
    def reached():
        seen = judges.weights(fleet.lab[name], f"{VIP}:80")
        assert len(seen) == count and all(seen.values()), f"{seen}"
        return True

    wait_until(reached, f"{name} to have {count} destinations", timeout)


def pair(fleet, backends=("r1", "r2"), **spec):
    """Two directors at work, one of which holds the VIP and should; returns the holder and the standby."""
    fleet.enlist(directors=DIRECTORS, backends=backends)
    for name in DIRECTORS:
        # Connections whose beginning another director has seen.
        fleet.lab[name].sh("sysctl -qw net.ipv4.vs.sloppy_tcp=1")
    fleet.start()
    fleet.apply(virtual_service(scheduler="mh", **{"directors": {"preferred": "r3"}, **spec}))
    holder = wait_holder(fleet, "r3")
    standby = "d"
    wait_destinations(fleet, holder, len(backends))
    if standby not in backends:
        wait_destinations(fleet, standby, len(backends))
    return holder, standby


def revive(fleet, name):
    """Boots a node again whose power was cut. Until its agent reports, real servers keep the VIP for what it last said."""
    fleet.town.discard(name)
    fleet.town.up(name)
    fleet.start(name)


def more(load, count=200, timeout=20):
    load.wait_answers(len(load.so_far().answers) + count, timeout)


def answering(fleet, frames, vip=VIP):
    """The directors whose MAC claimed the VIP in a capture."""
    names = {fleet.town.mac(name): name for name in fleet.labels}
    return {names.get(mac, mac) for mac in arp_answers(frames, vip)}


def test_h1_the_holder_loses_power(fleet):
    holder, standby = pair(fleet)
    with clients.beat(fleet.host, VIP) as load:
        more(load)
        fleet.lab[holder].power_off()
        wait_holder(fleet, standby, timeout=5)
        more(load)
    outcome = load.stop()
    print(f"\nH1: {outcome}; outage {outcome.outage * 1e3:.0f} ms")
    revive(fleet, holder)
    assert outcome.outage < 1, outcome


def test_h2_the_holders_cable(cluster):
    """Cut off, it goes on holding for nobody; put back, one of the two yields within a second."""
    holder, standby = pair(cluster)
    with clients.beat(cluster.host, VIP) as load:
        more(load)
        cluster.lab[holder].cut()
        wait_until(lambda: standby in holders(cluster), f"{standby} to take over", 5)
        more(load)
        cluster.lab[holder].join()
        joined = time.monotonic()
        wait_holder(cluster, *DIRECTORS, timeout=5)
        healed = time.monotonic() - joined
        more(load)
    outcome = load.stop()
    print(f"\nH2: {outcome}; outage {outcome.outage * 1e3:.0f} ms, one holder again after {healed * 1e3:.0f} ms")
    assert outcome.outage < 1, outcome
    assert healed < 2, "the two halves did not settle"


def test_h3_a_holder_without_api_server_holds(cluster):
    holder, _ = pair(cluster)
    forwarder = cluster.lab.forwarder(cluster.lab[holder])
    with clients.beat(cluster.host, VIP) as load, Capture(cluster.host, "lan", "arp") as capture:
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
    with clients.beat(cluster.host, VIP) as load, Capture(cluster.host, "lan", "arp") as capture:
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
    """The kernel takes them off when nobody has renewed their lifetime, and the standby finds them silent."""
    cluster.enlist(directors=DIRECTORS)
    cluster.stop(*DIRECTORS)
    cluster.start(*DIRECTORS, args=["--vip-lifetime", "10"])
    holder, standby = pair(cluster)
    assert "valid_lft" in cluster.lab[holder].sh(f"ip addr show dev eth0 to {VIP}")
    with clients.beat(cluster.host, VIP) as load:
        more(load, 2600, 30)
        assert holders(cluster) == [holder], "renewed as long as the agent is there"
        cluster.lab[holder].agent.kill()
        wait_holder(cluster, standby, timeout=15)
        more(load)
    outcome = load.stop()
    print(f"\nH5: {outcome}; outage {outcome.outage * 1e3:.0f} ms")
    cluster.stop()
    cluster.start()
    assert outcome.outage < 5, outcome


def test_h6_a_planned_move_loses_nothing(cluster):
    """By preference, there and back; then the holder is unlabelled. Long connections stay, none is refused."""
    holder, standby = pair(cluster)
    long = clients.hold(cluster.host, VIP, n=20)
    with clients.beat(cluster.host, VIP) as load:
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
    outcome, kept = load.stop(), long.stop()
    print(f"\nH6: {outcome}; outage {outcome.outage * 1e3:.0f} ms")
    assert outcome.errors == [], outcome
    assert outcome.outage < NOISE, outcome
    assert kept.errors == [], kept
    assert all(len(who) == 1 for who in kept.servers_per_connection.values()), kept.servers_per_connection


def test_h6_a_cordoned_director_gives_its_vips_away(cluster):
    holder, standby = pair(cluster)
    with clients.beat(cluster.host, VIP) as load:
        more(load)
        cluster.api.kubectl(f"cordon {holder}")
        try:
            wait_holder(cluster, standby, timeout=30)
            more(load)
        finally:
            cluster.api.kubectl(f"uncordon {holder}")
    outcome = load.stop()
    assert outcome.errors == [] and outcome.outage < NOISE, outcome


def test_h9_both_start_at_once(cluster):
    """The VIP is given anew again and again: whatever happens first, one has it, and the other never said so."""
    cluster.enlist(directors=DIRECTORS)
    cluster.start()
    for round_ in range(10):
        with Capture(cluster.host, "lan", "arp") as capture:
            cluster.apply(virtual_service(scheduler="mh"))
            holder = wait_holder(cluster, *DIRECTORS)
        assert answering(cluster, capture.stop()) <= {holder}, f"round {round_}"
        cluster.delete()
        wait_until(lambda: holders(cluster) == [], "nobody to hold the VIP")


def test_h10_the_vip_is_deleted_by_hand(cluster):
    """Its agent puts it back; if that is dead, the standby takes the VIP."""
    holder, standby = pair(cluster)
    node = cluster.lab[holder]
    node.sh(f"ip addr del {VIP}/32 dev eth0")
    wait_holder(cluster, *DIRECTORS)
    with clients.beat(cluster.host, VIP) as load:
        more(load)
        holder = wait_holder(cluster, *DIRECTORS)
        standby = next(name for name in DIRECTORS if name != holder)
        node = cluster.lab[holder]
        node.agent.kill()
        node.sh(f"ip addr del {VIP}/32 dev eth0")
        wait_holder(cluster, standby, timeout=10)
        more(load)
    outcome = load.stop()
    print(f"\nH10: {outcome}; outage {outcome.outage * 1e3:.0f} ms")
    cluster.start(holder)
    assert outcome.outage < 5, outcome


def test_h11_a_stranger_answers(cluster):
    """Before: nobody claims. During: the holder stays, and both MACs are told."""
    cluster.enlist(directors=DIRECTORS)
    cluster.start()
    stranger = cluster.lab.bystander("stranger")
    stranger.sh(f"ip addr add {VIP}/32 dev eth0")
    cluster.apply(virtual_service(scheduler="mh"))
    mac = judges.mac(stranger, "eth0")
    message = cluster.wait_condition("VIPConflict", "True")
    assert mac in message
    assert holders(cluster) == []
    stranger.sh(f"ip addr del {VIP}/32 dev eth0")
    holder = wait_holder(cluster, *DIRECTORS, timeout=20)
    cluster.wait_condition("VIPConflict", "False", timeout=30)
    stranger.sh(f"ip addr add {VIP}/32 dev eth0")
    message = cluster.wait_condition("VIPConflict", "True", timeout=20)
    assert mac in message
    assert holders(cluster) == [holder]
    cluster.lab.remove_bystander("stranger")
    cluster.wait_condition("VIPConflict", "False", timeout=30)


def test_h13_directors_that_are_real_servers(cluster):
    """Both answer themselves, too; no packet goes to and fro between them."""
    holder, standby = pair(cluster, backends=DIRECTORS)
    assert judges.services(cluster.lab[standby]) == {}, "a standby that is a real server must not schedule again"
    with Capture(cluster.host, "lan", f"tcp port 80 and host {VIP} and tcp[tcpflags] & tcp-syn != 0") as capture:
        outcome = clients.requests(cluster.host, VIP, n=200)
    assert outcome.errors == [] and set(outcome.counts) == set(DIRECTORS), outcome
    # The bridge of the lab shows what the nodes send: a SYN leaves the holder once, or not at all.
    macs = {cluster.town.mac(name) for name in DIRECTORS}
    seen: dict[tuple, int] = {}
    for frame in capture.stop():
        if frame.dport == 80 and frame.src_mac in macs:
            key = (frame.src, frame.sport)
            seen[key] = seen.get(key, 0) + 1
    assert max(seen.values(), default=0) <= 1, "a SYN was forwarded more than once"
    with clients.beat(cluster.host, VIP) as load:
        more(load)
        cluster.lab[holder].power_off()
        wait_holder(cluster, standby, timeout=5)
        wait_until(lambda: f"{VIP}:80" in judges.services(cluster.lab[standby]), "the services to appear", 10)
        more(load, 100, 30)
    revive(cluster, holder)


def test_h16_the_holders_machine_stands_still(cluster):
    """It wakes up ten seconds later and has to see that another has the VIP."""
    cluster.lab.require("freeze")
    holder, standby = pair(cluster)
    with clients.beat(cluster.host, VIP) as load:
        more(load)
        cluster.lab[holder].freeze()
        wait_until(lambda: judges.devices_with(cluster.lab[standby], VIP) not in ([], ["lo"]), f"{standby} to take over", 5)
        more(load, 2000, 30)
        cluster.lab[holder].thaw()
        thawed = time.monotonic()
        # It is preferred: whoever has it at first, it gets it back.
        wait_holder(cluster, *DIRECTORS, timeout=10)
        settled = time.monotonic() - thawed
        more(load)
    outcome = load.stop()
    print(f"\nH16: {outcome}; outage {outcome.outage * 1e3:.0f} ms, one holder {settled * 1e3:.0f} ms after waking up")
    assert outcome.outage < 1, outcome
    assert settled < 2


def test_h12_three_directors_share_sixty_vips(cluster):
    """None has more than 1.25 times its share; of a dead one only its own VIPs move, and few when it is back."""
    names = (*DIRECTORS, "late")
    vips = [f"10.77.0.{last}" for last in range(130, 190)]
    cluster.enlist(directors=names)
    cluster.start()

    def held():
        alive = [name for name in names if cluster.lab[name].powered]
        found = {name: judges.addresses(cluster.lab[name]).get("eth0", []) for name in alive}
        owners = {vip: [name for name in alive if f"{vip}/32" in found[name]] for vip in vips}
        assert all(len(who) == 1 for who in owners.values()), f"{ {v: w for v, w in owners.items() if len(w) != 1} }"
        return {vip: who[0] for vip, who in owners.items()}

    def spread():
        owners = held()
        counts = {name: list(owners.values()).count(name) for name in names if cluster.lab[name].powered}
        assert max(counts.values()) <= -(-len(vips) * 5 // (4 * len(counts))), f"{counts}"
        return owners

    cluster.apply(*[virtual_service(f"web-{n}", vip, scheduler="mh") for n, vip in enumerate(vips)])
    before = wait_until(spread, "60 VIPs to be spread over three directors", 60)
    cluster.lab["late"].power_off()
    after = wait_until(spread, "the other two to have all VIPs", 30)
    moved = [vip for vip in vips if before[vip] != after[vip]]
    assert set(moved) == {vip for vip in vips if before[vip] == "late"}, "only those of the dead one move"
    revive(cluster, "late")
    back = wait_until(spread, "60 VIPs to be spread over three directors again", 60)
    returned = [vip for vip in vips if back[vip] != after[vip]]
    print(f"\nH12: {len(moved)} of 60 moved when one of three died, {len(returned)} when it was back")
    assert len(returned) <= 25, returned
