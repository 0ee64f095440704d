"""How long clients wait when a director loses power: directway, and keepalived with the same real servers, side by side in one run.

Usage: PYTHONPATH=tests python3 benches/failover.py [ROUNDS]   writes its section of docs/benchmarks.md

In every round a client begins a connection every 5 ms, others keep theirs open, and one sends ARP requests for the VIP. The holder's kernel is
killed, or its daemon stands still for a while. Measured are the longest time between two connections that were answered at once, lost requests
and connections, and for how long two MACs answered.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "lab")]

import sections  # noqa: E402
from ground import assets, clients, judges  # noqa: E402
from ground.capture import Capture  # noqa: E402
from ground.wait import wait_until  # noqa: E402
from support import VIP, Hosts, Site, repeated_requests, virtual_service  # noqa: E402
from support.arp_requests import conflicts  # noqa: E402

DIRECTORS, REAL_SERVERS = ("d", "r3"), ("r1", "r2")
KEEPALIVED = assets.cache() / "keepalived"
# Answers to wait for after a fault: enough to include the end of the outage.
AFTER = 150
# Connections that are kept open, and the pause between two requests on one (seconds).
HELD, EVERY = 50, 0.5
# How long a daemon stands still (seconds), and how often.
STILL, PAUSES = 5, 5
# Number of planned moves.
MOVES = 20
# How often the holder is cut off and joined again.
CUTS = 5


@dataclass(frozen=True)
class Round:
    """What clients saw of one fault."""

    outage: float  # seconds
    lost: int
    begun: int
    cut: int  # of the connections that were kept open
    doubled: float  # seconds in which two MACs answered
    moved: bool


@dataclass(frozen=True)
class Side:
    """One side of the comparison: how to stop and continue its daemon, and how to start it on a node that has booted again."""

    name: str
    revive: Callable[[str], None]
    pause: Callable[[str], None]
    resume: Callable[[str], None]


def say(text: str) -> None:
    print(text, flush=True)


def holders(site: Site) -> list[str]:
    alive = [name for name in DIRECTORS if site.lab[name].powered]
    return [name for name in alive if "eth0" in judges.devices_with(site.lab[name], VIP)]


def one_holder(site: Site) -> str:
    def found() -> str:
        now = holders(site)
        assert len(now) == 1, f"held by {now}"
        return now[0]

    return wait_until(found, "one holder", 30)


def round_(site: Site, fault: Callable[[str], None]) -> Round:
    """Applies one fault to the holder, with clients from before the fault until one director holds the VIP again."""
    holder = one_holder(site)
    asker = judges.mac(site.host, "lan")
    kept = clients.hold(site.host, VIP, n=HELD, interval=EVERY).wait_answers(HELD)
    asking = repeated_requests(site.host, VIP, sender=site.lab.address(), interval=0.03)
    with Capture(site.host, "lan", "arp") as capture, asking, clients.steady(site.host, VIP) as load:
        load.wait_answers(100)
        fault(holder)
        now = one_holder(site)
        load.wait_answers(len(load.so_far().answers) + AFTER, 20)
    # Time for a request on every open connection.
    time.sleep(2 * EVERY)
    outcome, long = load.stop(), kept.stop()
    doubled = sum(conflict.end - conflict.begin for conflict in conflicts(capture.stop(), asker, VIP))
    return Round(outcome.outage, len(outcome.errors), len(outcome.rows), len(long.not_kept), doubled, now != holder)


def power_losses(site: Site, side: Side, count: int) -> list[Round]:
    def power_loss(holder: str) -> None:
        site.lab[holder].power_off()
        wait_until(lambda: holder not in (now := holders(site)) and now, "the other one to take over", 30)

    results = []
    for number in range(count):
        holder = one_holder(site)
        results.append(one := round_(site, power_loss))
        say(f"  {side.name} {number + 1}/{count}: {one.outage * 1e3:4.0f} ms, {one.lost} of {one.begun} lost, {one.cut} of {HELD} cut")
        site.discard(holder)
        site.up(holder)
        side.revive(holder)
    return results


def pauses(site: Site, side: Side) -> list[Round]:
    def pause(holder: str) -> None:
        side.pause(holder)
        time.sleep(STILL)
        side.resume(holder)
        # Time to see that another has the VIP.
        time.sleep(1)

    results = []
    for number in range(PAUSES):
        results.append(one := round_(site, pause))
        say(f"  {side.name}, still, {number + 1}/{PAUSES}: {one.doubled:.1f} s two MACs, {one.lost} of {one.begun} lost, {one.cut} of {HELD} cut")
    return results


def healings(site: Site) -> list[Round]:
    """Cuts the holder off until the other director holds the VIP, too, and joins it again."""
    def cut_and_join(holder: str) -> None:
        site.lab[holder].cut()
        try:
            wait_until(lambda: len(holders(site)) == len(DIRECTORS), "both to hold the VIP", 30)
        finally:
            site.lab[holder].join()
        # Time to see that another has the VIP.
        time.sleep(1)

    results = []
    for number in range(CUTS):
        results.append(one := round_(site, cut_and_join))
        say(f"  cut off and put back {number + 1}/{CUTS}: {one.doubled * 1e3:.0f} ms two MACs, {one.lost} of {one.begun} lost, {one.cut} of {HELD} cut")
    return results


def ready(site: Site, name: str) -> None:
    """Waits until every real server is a destination with weight."""
    def all_there() -> bool:
        weights = judges.weights(site.lab[name], f"{VIP}:80")
        assert len(weights) == len(REAL_SERVERS) and all(weights.values()), f"{weights}"
        return True

    wait_until(all_there, f"{name} to be ready", 30)


def planned_moves(site: Site, fleet: Hosts) -> tuple[list[Round], list[Round]]:
    """Rounds without a fault, and as many in which the other director becomes the preferred one."""
    def move(holder: str) -> None:
        other = next(name for name in DIRECTORS if name != holder)
        fleet.apply(virtual_service(scheduler="mh", directors={"preferred": other}))
        wait_until(lambda: holders(site) == [other], f"{other} to have the VIP", 30)

    quiet, moved = [], []
    for number in range(MOVES):
        quiet.append(round_(site, lambda holder: time.sleep(1)))
        moved.append(one := round_(site, move))
        say(f"  planned move {number + 1}/{MOVES}: {one.outage * 1e3:.0f} ms ({quiet[-1].outage * 1e3:.0f} ms without), {one.lost} lost, {one.cut} cut")
    return quiet, moved


def accept_connections_of_others(site: Site, name: str) -> None:
    site.lab[name].sh("sysctl -qw net.ipv4.vs.sloppy_tcp=1")


def directway(site: Site, count: int) -> tuple[list[Round], ...]:
    fleet = Hosts(site)
    fleet.assign_roles(directors=DIRECTORS, real_servers=REAL_SERVERS)
    fleet.start()
    fleet.apply(virtual_service(scheduler="mh"))

    def revive(name: str) -> None:
        accept_connections_of_others(site, name)
        fleet.start(name)
        ready(site, name)
        # The VIP may move until both directors agree again on its order.
        time.sleep(1)

    for name in DIRECTORS:
        accept_connections_of_others(site, name)
        ready(site, name)
    side = Side("directway", revive, lambda name: site.lab[name].agent.pause(), lambda name: site.lab[name].agent.resume())
    results = power_losses(site, side, count), pauses(site, side), healings(site), *planned_moves(site, fleet)
    for name in DIRECTORS:
        site.lab[name].sh("sysctl -qw net.ipv4.vs.sloppy_tcp=0")
    fleet.delete()
    fleet.wait_untouched(60)
    fleet.stop()
    return results


# VRRP version 3, because version 2 has whole seconds only.
CONFIG = """
global_defs {{ vrrp_version 3 }}
vrrp_instance web {{
  state BACKUP
  nopreempt
  interface eth0
  virtual_router_id 51
  priority 100
  advert_int {interval}
  virtual_ipaddress {{ {vip}/32 dev eth0 }}
}}
"""


def keepalived(site: Site, interval: float, count: int) -> tuple[list[Round], list[Round]]:
    def start(name: str) -> None:
        node = site.lab[name]
        node.sh(f"modprobe ip_vs_mh; ipvsadm -A -t {VIP}:80 -s mh -b mh-fallback,mh-port")
        accept_connections_of_others(site, name)
        for server in REAL_SERVERS:
            node.sh(f"ipvsadm -a -t {VIP}:80 -r {site.address(server)}:80 -g")
        node.write("/run/keepalived.conf", CONFIG.format(interval=interval, vip=VIP))
        library = next(KEEPALIVED.glob("usr/lib/*-linux-gnu"))
        node.spawn(
            ["env", f"LD_LIBRARY_PATH={library}", str(KEEPALIVED / "usr/sbin/keepalived"), "-n", "-l", "-P", "-f", "/run/keepalived.conf",
             "-p", "/run/keepalived.pid", "-r", "/run/vrrp.pid"],
            "keepalived.log",
        )

    def revive(name: str) -> None:
        start(name)
        takes_part(name)

    def takes_part(name: str) -> None:
        # keepalived takes some seconds to begin, more on a node with more interfaces.
        wait_until(lambda: "224.0.0.18" in site.lab[name].sh("ip -4 maddr show dev eth0"), f"keepalived on {name} to listen", 30)
        # A backup must receive the master's advertisements first.
        time.sleep(3 * interval + 2)

    site.up(*DIRECTORS, *REAL_SERVERS)
    for name in REAL_SERVERS:
        site.lab[name].sh(f"sysctl -qw net.ipv4.conf.eth0.arp_ignore=1 net.ipv4.conf.eth0.arp_announce=2; ip addr add {VIP}/32 dev lo")
    for name in DIRECTORS:
        start(name)
    for name in DIRECTORS:
        takes_part(name)
    signal = lambda kind: lambda name: site.lab[name].sh(f"kill -{kind} $(cat /run/vrrp.pid)")
    side = Side(f"keepalived, advert_int {interval}", revive, signal("STOP"), signal("CONT"))
    results = power_losses(site, side, count), pauses(site, side)
    site.discard(*DIRECTORS, *REAL_SERVERS)
    return results


def row(name: str, results: list[Round]) -> str:
    outages = sorted(one.outage * 1e3 for one in results)
    at = lambda share: outages[min(len(outages) - 1, int(share * len(outages)))]
    lost, begun = sum(one.lost for one in results), sum(one.begun for one in results)
    cut = f"{sum(one.cut for one in results)} of {HELD * len(results)}"
    return f"| {name} | {len(outages)} | {statistics.median(outages):.0f} | {at(0.99):.0f} | {outages[-1]:.0f} | {lost} of {begun} | {cut} |"


def still_row(name: str, results: list[Round]) -> str:
    lost, begun = sum(one.lost for one in results), sum(one.begun for one in results)
    moved, doubled = sum(one.moved for one in results), statistics.median(one.doubled for one in results)
    return f"| {name} | {len(results)} | {moved} | {doubled:.1f} | {lost} of {begun} | {sum(one.cut for one in results)} of {HELD * len(results)} |"


def main(count: int) -> None:
    site = Site()
    lines = [
        "## A director loses power", "",
        "Two directors, two real servers, each its own kernel; a connection is begun every 5 ms, and the kernel of the director that holds the VIP is",
        "killed. Milliseconds in which no connection was begun that was answered at once; requests lost are those without an answer after 3 s; so",
        f"many of {HELD} connections that were open were reset, or had a request without an answer for as long, with `sloppy_tcp` on both sides.",
        "keepalived (Debian's, VRRP version 3, equal priorities) has the same IPVS services set up by hand. `make bench-failover` writes this section",
        "and the three that follow.", "",
        "| | rounds | median | p99 | worst | requests lost | connections cut |", "|---|---:|---:|---:|---:|---:|---:|",
    ]
    still = [
        "## A director's daemon stands still", "",
        f"The same two, but the holder's agent, or keepalived's VRRP process, is stopped for {STILL} s (SIGSTOP), as on a starved machine. Its kernel goes on",
        "working. How often the VIP moved, for how many seconds (median) questions by ARP were answered by two MACs, and what was lost.", "",
        "| | rounds | moved | two MACs, s | requests lost | connections cut |", "|---|---:|---:|---:|---:|---:|",
    ]
    whole = [
        "## A director is cut off and put back", "",
        "The holder's cable is out until the other director holds the VIP too; then the segment is whole again, with two holders. The same measures.", "",
        "| | rounds | moved | two MACs, s | requests lost | connections cut |", "|---|---:|---:|---:|---:|---:|",
    ]
    planned = [
        "## A VIP is moved on purpose", "",
        "`spec.directors.preferred` names the other director: the same measures, in turn with rounds in which nothing happens, which show the lab's own gaps.", "",
        "| | rounds | median | p99 | worst | requests lost | connections cut |", "|---|---:|---:|---:|---:|---:|---:|",
    ]
    try:
        say("directway, at its defaults")
        lost, paused, healed, quiet, moved = directway(site, count)
        lines.append(row("directway, defaults", lost))
        still.append(still_row("directway, defaults", paused))
        whole.append(still_row("directway, defaults", healed))
        planned += [row("nothing happens", quiet), row("the VIP moves", moved)]
        for interval in (0.1, 1):
            say(f"keepalived, advert_int {interval}")
            few = max(5, count // (3 if interval == 0.1 else 10))
            lost, paused = keepalived(site, interval, few)
            lines.append(row(f"keepalived, advert_int {interval}", lost))
            still.append(still_row(f"keepalived, advert_int {interval}", paused))
    finally:
        site.close()
    text = "\n".join([*lines, "", *still, "", *whole, "", *planned]) + "\n"
    sections.write(text)
    say(text)


if __name__ == "__main__":
    os.environ.setdefault("DIRECTWAY_GROUND", "uml")
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
