"""H14: directors are killed, paused, cut off and restarted at random, and the wire loses frames and lies; on one segment only one MAC may answer for a VIP,
and none is without a holder for longer than a takeover takes.

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
from support.arp_requests import Conflict, conflicts, longest_silence

FAULTS = int(os.environ.get("DIRECTWAY_FAULTS") or 50)
SEED = int(os.environ.get("DIRECTWAY_SEED") or time.time())
VIPS = [f"10.77.0.{last}" for last in (100, 101, 102)]
# `make soak` runs this alone, with the election's own limits. Beside other labs everything may take this many times as long.
SLOW = 1 if "DIRECTWAY_FAULTS" in os.environ else 10 * PATIENCE
# How long after a segment is whole again the holders of its halves may both answer (seconds).
HEALING = 1.0 * SLOW
# How long both directors may answer in a planned move, from the successor's announcement until the old holder yields (seconds).
MOVE = 0.1 * SLOW
# How long a VIP may be without an answer when a director is lost: a takeover takes 0.3 s at most (docs/failover.md), and the asker asks every 0.03 s.
TAKEOVER = 0.5 * SLOW


@dataclass
class Seen:
    """The results of all rounds with one kind of fault."""

    rounds: int = 0
    requests: int = 0
    lost: int = 0
    # Seconds, and what happened in the round.
    outages: list[tuple[float, str]] = field(default_factory=list)


def settled(fleet, names):
    """Whether every VIP is on exactly one director and every other director could take it over."""
    owners(fleet, VIPS, names)
    assert all(fleet.lab[name].agent.running() for name in names)
    missing = [name for name in names if len(judges.services(fleet.lab[name])) != len(VIPS)]
    assert not missing, f"IPVS services are missing on {missing}"
    return True


@dataclass
class Round:
    """What was seen from before the faults until every VIP had one holder again, and everybody was ready."""

    client: clients.Outcome
    conflicts: list[Conflict]
    # The longest time in which a VIP had no answer, and how long it may be (seconds).
    silence: float
    patience: float
    injector: FaultInjector


def play(fleet, names, faults) -> Round:
    """One round with a client, ARP requests and a capture."""
    injector = FaultInjector(fleet, names, VIPS)
    asker = judges.mac(fleet.host, "lan")
    with Capture(fleet.host, "lan", "arp") as capture, closing(injector.wire):
        with repeated_requests(fleet.host, *VIPS, sender=fleet.lab.address(), interval=0.03), clients.steady(fleet.host, VIPS[0], interval=0.01) as load:
            more(load, 20)
            began = time.monotonic()
            injector.run(faults)
            took = time.monotonic() - began
            fleet.start(*names)
            wait_until(lambda: settled(fleet, names), "one holder of each VIP, and everybody to be ready", 15)
            more(load, 20)
    frames = capture.stop()
    found = [conflict for vip in VIPS for conflict in conflicts(frames, asker, vip)]
    silence = max(longest_silence(frames, asker, vip) for vip in VIPS)
    # Where every director has a fault, nobody may be left until one of them is back.
    patience = TAKEOVER * len(faults) + (took if len(faults) == len(names) else 0)
    return Round(load.stop(), found, silence, patience, injector)


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
    wait_until(lambda: settled(cluster, names), "one holder of each VIP, and everybody to be ready", 30)
    seen: dict[str, Seen] = defaultdict(Seen)
    heals, wrong, silent, done = [], [], [], 0
    while done < (FAULTS + 1) // 2:
        faults: list[Fault] = draw(chance, names)
        done += len(faults)
        told = ", ".join(map(str, faults))
        try:
            now = play(cluster, names, faults)
        except AssertionError as reason:
            raise AssertionError(f"seed {SEED}, fault {done}: {told}: {reason}") from reason
        one = seen[faults[0].kind if len(faults) == 1 else "two at once"]
        one.rounds += 1
        one.requests += len(now.client.rows)
        one.lost += len(now.client.errors)
        one.outages.append((now.client.outage, told))
        heals += [late for conflict in now.conflicts if (late := after_healing(conflict, now.injector.healed)) is not None]
        wrong += [f"{told}: {conflict}" for conflict in now.conflicts if not explained(conflict, now.injector)]
        if now.silence > now.patience:
            silent.append(f"{told}: a VIP had no answer for {now.silence * 1e3:.0f} ms")
    print(f"\nH14, {len(names)} directors, seed {SEED}: {done} faults; times with two MACs on one segment: {len(wrong)}; without a holder for too long: {len(silent)}")
    print(f"{'fault':20} {'rounds':>6} {'requests':>9} {'lost':>5} {'median outage':>14} {'worst':>8}")
    for kind, one in sorted(seen.items()):
        outages = sorted(one.outages)
        worst, told = outages[-1]
        print(f"{kind:20} {one.rounds:6} {one.requests:9} {one.lost:5} {outages[len(outages) // 2][0] * 1e3:11.0f} ms {worst * 1e3:5.0f} ms  {told}")
    if heals:
        print(f"{len(heals)} VIPs had two holders when a segment became whole: the last one gave way after {max(heals) * 1e3:.0f} ms at most")
    assert not wrong + silent, f"seed {SEED}:\n" + "\n".join(wrong + silent)
