"""How many ARP frames cross a switch's port with many VIPs; docs/install.md, "Ports that police ARP", has the formula."""

from collections import Counter

from ground.arp import EVERYBODY
from ground.capture import Capture, Frame
from ground.wait import wait_until
from support import virtual_service
from support.directors import DIRECTORS, owners, revive

VIPS = [f"10.77.0.{n}" for n in range(120, 140)]
BROADCAST = EVERYBODY.hex(":")
# Questions to the other director's kernel that a capture at rest has at least; 20 in a second at most.
ASKED = 200


# docs/install.md, "Ports that police ARP".
SLOW = {
    "ask": 1000, "askDown": 1000, "probe": 1000, "turn": 4000, "contest": 4000, "check": 5000, "stranger": 10_000,
    "urgentCount": 1, "urgentEvery": 3000, "backgroundCount": 1, "backgroundEvery": 1000,
}
POLICED = 15


def busiest_second(frames: list[Frame]) -> int:
    return max(sum(first.time <= other.time < first.time + 1 for other in frames) for first in frames)


def most(frames: list[Frame], per_second: float, at_once: int = 0) -> int:
    """The most frames in the time of a capture, and a second more, because it may begin right before a round."""
    return at_once + int(per_second * (frames[-1].time - frames[0].time + 1) + 1)


def held_by_each(fleet) -> Counter[str]:
    return Counter(wait_until(lambda: owners(fleet, VIPS, DIRECTORS), "each VIP to have one holder", 40).values())


def test_frames_with_twenty_vips(cluster):
    cluster.assign_roles(directors=DIRECTORS)
    cluster.start()
    cluster.apply(*[virtual_service(f"web-{n}", vip) for n, vip in enumerate(VIPS)])
    for name in DIRECTORS:
        wait_until(lambda: cluster.lab[name].sh("ipvsadm -Sn").count(" -w 1") == 2 * len(VIPS), f"{name} to have all destinations", 40)
    before = held_by_each(cluster)

    ports = {name: cluster.lab[name].nics[0].port for name in (*DIRECTORS, "r1")}
    captures = {name: Capture(cluster.host, port, "arp") for name, port in ports.items()}
    asks = lambda frames, one, other: [
        f for f in frames if f.arp == "request" and f.src_mac == cluster.site.mac(one) and f.arp_target_ip == cluster.site.address(other)
    ]
    d, r3 = DIRECTORS
    wait_until(lambda: len(asks(captures[d].frames(), d, r3)) >= ASKED, f"{ASKED} questions", 60, every=1)
    frames = {name: capture.stop() for name, capture in captures.items()}
    # One may have moved to its preferred place meanwhile.
    held = before | held_by_each(cluster)

    print()
    for name in DIRECTORS:
        sent = [f for f in frames[name] if f.src_mac == cluster.site.mac(name)]
        # 20 questions and 20 answers; a broadcast, a question and an answer for each VIP that it holds; a question for each that it does not.
        formula = 40 + 3 * held[name] + (len(VIPS) - held[name])
        # Announcements, questions as any host asks, and those to real servers come once in a while.
        assert len(sent) <= (limit := most(sent, formula + 3, 5 * held[name])), f"{name} sent {len(sent)}, not {limit} at most"
        print(f"{name} holds {held[name]}: its port received {len(sent)} frames of {limit} at most")
    there = frames["r1"]
    assert len(there) <= (limit := most(there, len(VIPS) + 3, 5 * len(VIPS))), f"{len(there)} frames reached r1, not {limit} at most"
    assert asks(there, d, r3) == [], "questions between directors are unicast"
    print(f"r1 saw {len(there)} frames of {limit} at most")

    taken = [vip for vip, name in owners(cluster, VIPS, DIRECTORS).items() if name == d]
    with Capture(cluster.host, ports[r3], f"arp and ether src {cluster.site.mac(r3)}") as capture:
        cluster.lab[d].power_off()
        wait_until(lambda: set(owners(cluster, VIPS, (r3,)).values()) == {r3}, f"{r3} to have all", 30)
        announced = lambda frames: [f for f in frames if f.arp_sender_ip == f.arp_target_ip and f.arp_sender_ip in taken]
        # 0, 50, 200, 1000 and 5000 ms after the claim.
        wait_until(lambda: len(announced(capture.frames())) >= 5 * len(taken), "all announcements", 30)
    after = capture.stop()
    probes = Counter(f.arp_target_ip for f in after if f.arp_sender_ip == "0.0.0.0" and f.dst_mac == BROADCAST and f.arp_target_ip in taken)
    assert len(announced(after)) <= 5 * len(taken) + len(taken)
    # Three before the claim, up to three again after a doubt, and one in a second from then on.
    limit = most(after, 1, 6)
    assert {vip: count for vip, count in probes.items() if count > limit} == {}
    assert probes.keys() == set(taken) and min(probes.values()) >= 3, f"{probes}"
    print(f"{len(taken)} VIPs taken over: {len(announced(after))} announcements, {max(probes.values())} probes of one at most; limit {limit}")
    revive(cluster, d)


def test_vips_that_are_made_at_once_behind_a_port_that_polices_arp(cluster):
    """With slow timers a director probes one new VIP after the other, and binds none before."""
    cluster.assign_roles(directors=DIRECTORS)
    cluster.stop(*DIRECTORS)
    cluster.start(*DIRECTORS, args=[f"--failover-timer={name}={value}" for name, value in SLOW.items()])
    cluster.start()
    vips = VIPS[:6]
    port_of = lambda name: cluster.lab[name].nics[0].port
    captures = {name: Capture(cluster.host, port_of(name), f"arp and ether src {cluster.site.mac(name)}") for name in DIRECTORS}
    try:
        cluster.apply(*[virtual_service(f"web-{n}", vip) for n, vip in enumerate(vips)])
        wait_until(lambda: owners(cluster, vips, DIRECTORS), "each VIP to have one holder", 60)
        for name in DIRECTORS:
            wait_until(lambda: cluster.lab[name].sh("ipvsadm -Sn").count(" -w 1") == 2 * len(vips), f"{name} to have all destinations", 40)
    finally:
        frames = {name: capture.stop() for name, capture in captures.items()}
        cluster.stop(*DIRECTORS)
    for name, sent in frames.items():
        probed = {f.arp_target_ip for f in sent if f.arp_sender_ip == "0.0.0.0"}
        assert probed >= set(vips), f"{name} probed {probed}"
        assert (most := busiest_second(sent)) <= POLICED, f"{name} sent {most} frames in a second"
        print(f"{name}: {len(sent)} frames, {most} in a second at most")
