"""A director dies, is cut off or stands still: which one takes over, and what clients see of it."""

import os
import re
import time

import pytest
from ground import clients, judges
from ground.capture import Capture
from ground.wait import wait_until
from support import VIP, repeated_requests, virtual_service
from support.arp_requests import conflicts, forged_announcements
from support.directors import (  # noqa: F401
    DIRECTORS, holders, keep_open, last_claim, more, not_kept, only_here, owners, pair, revive, two_halves, wait_alone, wait_holder,
)

# For how long the API server is gone (seconds).
OUTAGE = float(os.environ.get("DIRECTWAY_OUTAGE") or 6)
# In an agent's log: a VIP that came by a planned move.
PLANNED = re.compile(r'holds the VIP .*\bvip=(\S+) cause="planned"')


def test_h1_the_holder_loses_power(fleet):
    holder, standby = pair(fleet)
    kept = keep_open(fleet)
    with clients.steady(fleet.host, VIP) as load:
        more(load)
        fleet.lab[holder].power_off()
        wait_alone(fleet, load, standby)
    outcome, lost = load.stop(), not_kept(kept)
    print(f"\nH1: {outcome}; outage {outcome.outage * 1e3:.0f} ms")
    revive(fleet, holder)
    assert lost == []


def test_h2_the_holders_cable(cluster):
    """Cut off, the holder keeps the VIP, but no client reaches it. When it is back, one of the two yields; at last the preferred one holds it alone."""
    holder, standby = pair(cluster)
    asking = repeated_requests(cluster.host, VIP, sender=cluster.lab.address(), interval=0.02)
    with clients.steady(cluster.host, VIP) as load, Capture(cluster.host, "lan", "arp") as capture, asking:
        more(load)
        cluster.lab[holder].cut()
        wait_until(lambda: standby in holders(cluster), f"{standby} to take over", 30)
        # The standby's report says that it holds the VIP, too.
        wait_until(lambda: cluster.get()["status"]["holders"] == [{"vip": VIP, "node": standby}], f"the status to name {standby}", 30)
        more(load)
        healed = time.time()
        cluster.lab[holder].join()
        wait_alone(cluster, load, holder)
    outcome = load.stop()
    last = last_claim(cluster, capture.stop(), standby) - healed
    print(f"\nH2: {outcome}; outage {outcome.outage * 1e3:.0f} ms, {standby} claimed the VIP until {last * 1e3:.0f} ms after the cable was put back")


def test_h8_the_lan_falls_into_two_halves(cluster):
    """Each half is served by its own director. When the LAN is whole again, a capture shows that one of them stopped answering."""
    holder, standby = pair(cluster)
    host = cluster.host
    asking = repeated_requests(host, VIP, sender=cluster.lab.address(), interval=0.02)
    with clients.steady(host, VIP) as load, Capture(host, "lan", "arp") as capture, asking:
        with two_halves(cluster, holder, "r1"):
            wait_until(lambda: set(holders(cluster)) == set(DIRECTORS), "a holder in each half", 30)
            more(load, 100)
            healed = time.time()
        wait_alone(cluster, load, holder)
    outcome = load.stop()
    last = last_claim(cluster, capture.stop(), standby) - healed
    print(f"\nH8: the last frame of {standby} came {last * 1e3:.0f} ms after healing; {outcome}")


@pytest.mark.soak
def test_h7_without_api_server_a_dead_holder_is_replaced(cluster):
    holder, standby = pair(cluster)
    forwarders = [cluster.lab.forwarder(cluster.lab[name]) for name in (*DIRECTORS, "r1", "r2")]
    with clients.steady(cluster.host, VIP) as load:
        for one in forwarders:
            one.cut()
        try:
            end = time.monotonic() + OUTAGE
            wait_until(lambda: time.monotonic() >= end, "the API servers to have been away long enough", OUTAGE + 10, every=0.5)
            cluster.lab[holder].power_off()
            wait_alone(cluster, load, standby)
        finally:
            for one in forwarders:
                one.heal()
        more(load)
    outcome = load.stop()
    print(f"\nH7: {outcome}; outage {outcome.outage * 1e3:.0f} ms")
    revive(cluster, holder)


def test_h13_directors_that_are_real_servers(cluster):
    """Both also serve connections themselves; no packet loops between them."""
    holder, standby = pair(cluster, real_servers=DIRECTORS)
    assert judges.services(cluster.lab[standby]) == {}, "a standby that is a real server must not schedule again"
    with Capture(cluster.host, "lan", f"tcp port 80 and host {VIP} and tcp[tcpflags] & tcp-syn != 0") as capture:
        outcome = clients.requests(cluster.host, VIP, n=200)
    assert outcome.errors == [] and set(outcome.counts) == set(DIRECTORS), outcome
    # The bridge of the lab shows what the nodes send: a SYN leaves the holder once, or not at all.
    macs = {cluster.site.mac(name) for name in DIRECTORS}
    seen: dict[tuple, int] = {}
    for frame in capture.stop():
        if frame.dport == 80 and frame.src_mac in macs:
            key = (frame.src, frame.sport)
            seen[key] = seen.get(key, 0) + 1
    assert max(seen.values(), default=0) <= 1, "a SYN was forwarded more than once"
    with clients.steady(cluster.host, VIP) as load:
        more(load)
        cluster.lab[holder].power_off()
        wait_holder(cluster, standby, timeout=30)
        wait_until(lambda: f"{VIP}:80" in judges.services(cluster.lab[standby]), "the services to appear", 10)
        more(load, 100, 30)
    revive(cluster, holder)


def test_h16_the_holders_machine_stands_still(cluster):
    """When it wakes up, it must find that the standby has the VIP: one of the two yields, and at last the preferred one holds it alone."""
    cluster.lab.require("freeze")
    holder, standby = pair(cluster)
    asking = repeated_requests(cluster.host, VIP, sender=cluster.lab.address(), interval=0.02)
    with clients.steady(cluster.host, VIP) as load, Capture(cluster.host, "lan", "arp") as capture, asking:
        more(load)
        cluster.lab[holder].freeze()
        wait_until(lambda: judges.devices_with(cluster.lab[standby], VIP) not in ([], ["lo"]), f"{standby} to take over", 30)
        more(load, 2000, 30)
        thawed = time.time()
        cluster.lab[holder].thaw()
        # The old holder is preferred, so the VIP returns to it whichever yields first.
        wait_alone(cluster, load, holder)
    outcome = load.stop()
    doubled = [conflict for conflict in conflicts(capture.stop(), judges.mac(cluster.host, "lan"), VIP) if conflict.end >= thawed]
    print(f"\nH16: {outcome}; outage {outcome.outage * 1e3:.0f} ms; after waking up: {'; '.join(map(str, doubled)) or 'never two MACs'}")


def test_h12_three_directors_share_sixty_vips(cluster):
    """None has more than 1.25 times its share; when one dies, only its own VIPs move, and few move when it is back."""
    names = (*DIRECTORS, "late")
    vips = [f"10.77.0.{last}" for last in range(130, 190)]
    cluster.assign_roles(directors=names)
    cluster.start()

    def spread():
        held = owners(cluster, vips, names)
        counts = {name: list(held.values()).count(name) for name in names if cluster.lab[name].powered}
        assert max(counts.values()) <= -(-len(vips) * 5 // (4 * len(counts))), f"{counts}"
        return held

    cluster.apply(*[virtual_service(f"web-{n}", vip, scheduler="mh") for n, vip in enumerate(vips)])
    logged = {name: len(cluster.lab[name].agent.log()) for name in DIRECTORS}
    before = wait_until(spread, "60 VIPs to be spread over three directors", 60)
    cluster.lab["late"].power_off()
    after = wait_until(spread, "the other two to have all VIPs", 30)
    moved = [vip for vip in vips if before[vip] != after[vip]]
    # Directors that were up at different times still put the VIPs where they belong meanwhile.
    planned = {vip for name in DIRECTORS for vip in PLANNED.findall(cluster.lab[name].agent.log()[logged[name]:])}
    orphans = {vip for vip in vips if before[vip] == "late"}
    assert orphans <= set(moved) <= orphans | planned, f"only those of the dead one move, and {planned} by plan"
    revive(cluster, "late")
    back = wait_until(spread, "60 VIPs to be spread over three directors again", 60)
    returned = [vip for vip in vips if back[vip] != after[vip]]
    print(f"\nH12: {len(moved)} of 60 moved when one of three died, {len(returned)} when it was back")
    assert len(returned) <= 25, returned


def test_h17_forged_announcements_keep_nobody_from_taking_over(cluster):
    """A host announces the VIP 300 times in a second, with another MAC in each frame. The agents report that once, and the standby takes over."""
    holder, standby = pair(cluster)

    def condition():
        return next(one["status"] for one in cluster.get()["status"]["conditions"] if one["type"] == "VIPConflict")

    def reported():
        return cluster.lab[standby].agent.log().count("another host answers for the VIP")

    with forged_announcements(cluster.host, VIP):
        wait_until(lambda: condition() == "True", "the conflict to be reported", 10)
        cluster.lab[holder].power_off()
        wait_holder(cluster, standby)
        assert reported() <= 4
    revive(cluster, holder)
