"""H14: directors are killed, paused, cut off and restarted at random, and the wire loses frames and lies; on one segment only one MAC may answer for a VIP.

DIRECTWAY_FAULTS: how many faults in all (default 50); DIRECTWAY_SEED: which ones (printed, so that a run can be repeated).
"""

import os
import random
import time
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, field

import pytest
from ground import clients, judges
from ground.capture import Capture
from ground.wait import PATIENCE, wait_until
from support import repeated_requests, virtual_service
from support.directors import more, owners
from support.faults import Fault, FaultInjector, draw
from support.arp_requests import Conflict, conflicts

FAULTS = int(os.environ.get("DIRECTWAY_FAULTS") or 50)
SEED = int(os.environ.get("DIRECTWAY_SEED") or time.time())
VIPS = [f"10.77.0.{last}" for last in (100, 101, 102)]
# `make soak` runs this alone, with the election's own limits. Beside other labs everything may take this many times as long.
SLOW = 1 if "DIRECTWAY_FAULTS" in os.environ else 10 * PATIENCE
# How long after a segment is whole again the holders of its halves may both answer (seconds).
HEALING = 1.0 * SLOW
# How long both directors may answer in a planned move, from the successor's announcement until the old holder yields (seconds).
MOVE = 0.1 * SLOW


@dataclass
class Seen:
    """The results of all rounds with one kind of fault."""

    rounds: int = 0
    requests: int = 0
    lost: int = 0
    outages: list[float] = field(default_factory=list)


def settled(fleet, names):
    """Whether every VIP is on exactly one director and every agent runs."""
    owners(fleet, VIPS, names)
    assert all(fleet.lab[name].agent.running() for name in names)
    return True


def play(fleet, names, faults) -> tuple[clients.Outcome, list[Conflict], FaultInjector]:
    """One round: a client, ARP requests and a capture, from before the faults until every VIP has one holder again."""
    injector = FaultInjector(fleet, names, VIPS)
    asker = judges.mac(fleet.host, "lan")
    with Capture(fleet.host, "lan", "arp") as capture, closing(injector.wire):
        with repeated_requests(fleet.host, *VIPS, sender=fleet.lab.address(), interval=0.03), clients.steady(fleet.host, VIPS[0], interval=0.01) as load:
            more(load, 20)
            injector.run(faults)
            fleet.start(*names)
            wait_until(lambda: settled(fleet, names), "one holder of each VIP", 15)
            more(load, 20)
    frames = capture.stop()
    found = [conflict for vip in VIPS for conflict in conflicts(frames, asker, vip)]
    return load.stop(), found, injector


def after_healing(conflict: Conflict, healed: list[float]) -> float | None:
    """How long the conflict lasted after the segment had become whole; None if it had not become whole before the end."""
    return min((conflict.end - when for when in healed if when <= conflict.end), default=None)


def explained(conflict: Conflict, injector: FaultInjector) -> bool:
    """Whether the conflict is allowed: the segment has just become whole and each half had a holder, a director was not heard, or a VIP was moving."""
    late = after_healing(conflict, injector.healed)
    unheard = any(begin <= conflict.begin and conflict.end <= end + HEALING for begin, end in injector.unheard)
    return conflict.end - conflict.begin <= MOVE or (late is not None and late <= HEALING) or unheard


@pytest.mark.soak
@pytest.mark.parametrize("names", [("d", "r3"), ("d", "r3", "late")], ids=["two", "three"])
def test_h14_random_faults(cluster, names):
    chance = random.Random(f"{SEED}-{len(names)}")
    cluster.assign_roles(directors=names)
    cluster.start()
    cluster.apply(*[virtual_service(f"web-{n}", vip, scheduler="mh") for n, vip in enumerate(VIPS)])
    wait_until(lambda: settled(cluster, names), "one holder of each VIP", 30)
    wait_until(lambda: all(len(judges.services(cluster.lab[name])) == len(VIPS) for name in names), "everybody to be ready", 15)
    seen: dict[str, Seen] = defaultdict(Seen)
    heals, wrong, done = [], [], 0
    while done < (FAULTS + 1) // 2:
        faults: list[Fault] = draw(chance, names)
        done += len(faults)
        told = ", ".join(map(str, faults))
        try:
            outcome, found, injector = play(cluster, names, faults)
        except AssertionError as reason:
            raise AssertionError(f"seed {SEED}, fault {done}: {told}: {reason}") from reason
        one = seen[faults[0].kind if len(faults) == 1 else "two at once"]
        one.rounds += 1
        one.requests += len(outcome.rows)
        one.lost += len(outcome.errors)
        one.outages.append(outcome.outage)
        heals += [late for conflict in found if (late := after_healing(conflict, injector.healed)) is not None]
        wrong += [f"{told}: {conflict}" for conflict in found if not explained(conflict, injector)]
    print(f"\nH14, {len(names)} directors, seed {SEED}: {done} faults; times with two MACs on one segment: {len(wrong)}")
    print(f"{'fault':20} {'rounds':>6} {'requests':>9} {'lost':>5} {'median outage':>14} {'worst':>8}")
    for kind, one in sorted(seen.items()):
        outages = sorted(one.outages)
        print(f"{kind:20} {one.rounds:6} {one.requests:9} {one.lost:5} {outages[len(outages) // 2] * 1e3:11.0f} ms {outages[-1] * 1e3:5.0f} ms")
    if heals:
        print(f"{len(heals)} VIPs had two holders when a segment became whole: the last one gave way after {max(heals) * 1e3:.0f} ms at most")
    assert not wrong, f"seed {SEED}:\n" + "\n".join(wrong)
