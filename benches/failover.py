"""How long clients wait when a director loses power: directway, and keepalived with the same real servers, side by side in one run.

Usage: PYTHONPATH=tests python3 benches/failover.py [ROUNDS]   writes its section of docs/benchmarks.md

Every round: a client begins a connection every 5 ms, the holder's kernel is killed, and the longest time is taken in which no connection was
begun that was answered at once. Then the node is booted again.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "lab")]

import sections  # noqa: E402
from ground import assets, clients, judges  # noqa: E402
from ground.wait import wait_until  # noqa: E402
from support import VIP, Hosts, Town, virtual_service  # noqa: E402

DIRECTORS, BACKENDS = ("d", "r3"), ("r1", "r2")
KEEPALIVED = assets.cache() / "keepalived"
# Enough to see the end of the outage.
AFTER = 150


def say(text: str) -> None:
    print(text, flush=True)


def holders(town: Town) -> list[str]:
    alive = [name for name in DIRECTORS if town.lab[name].powered]
    return [name for name in alive if "eth0" in judges.devices_with(town.lab[name], VIP)]


def one_holder(town: Town) -> str:
    def found() -> str:
        now = holders(town)
        assert len(now) == 1, f"held by {now}"
        return now[0]

    return wait_until(found, "one holder", 30)


def round_(town: Town, revive) -> tuple[float, int, int]:
    """Outage in seconds, requests lost, requests in all."""
    holder = one_holder(town)
    standby = next(name for name in DIRECTORS if name != holder)
    with clients.beat(town.host, VIP) as load:
        load.wait_answers(100)
        town.lab[holder].power_off()
        wait_until(lambda: holders(town) == [standby], f"{standby} to take over", 30)
        load.wait_answers(len(load.so_far().answers) + AFTER, 20)
    outcome = load.stop()
    town.discard(holder)
    town.up(holder)
    revive(holder)
    return outcome.outage, len(outcome.errors), len(outcome.rows)


def rounds(town: Town, name: str, count: int, revive) -> list[tuple[float, int, int]]:
    results = []
    for number in range(count):
        results.append(round_(town, revive))
        outage, lost, all_ = results[-1]
        say(f"  {name} {number + 1}/{count}: {outage * 1e3:4.0f} ms, {lost} of {all_} lost")
    return results


def ready(town: Town, name: str) -> None:
    """Every real server is a destination with weight."""
    def all_there() -> bool:
        weights = judges.weights(town.lab[name], f"{VIP}:80")
        assert len(weights) == len(BACKENDS) and all(weights.values()), f"{weights}"
        return True

    wait_until(all_there, f"{name} to be ready", 30)


def directway(town: Town, count: int) -> list:
    fleet = Hosts(town)
    fleet.enlist(directors=DIRECTORS, backends=BACKENDS)
    fleet.start()
    fleet.apply(virtual_service(scheduler="mh"))

    def revive(name: str) -> None:
        fleet.start(name)
        ready(town, name)
        # Until both agree again on who should have the VIP, it may be on its way.
        time.sleep(1)

    for name in DIRECTORS:
        ready(town, name)
    results = rounds(town, "directway", count, revive)
    fleet.delete()
    fleet.wait_untouched(60)
    fleet.stop()
    return results


# Version 2 of VRRP has whole seconds only.
CONFIG = """
global_defs {{ vrrp_version 3 }}
vrrp_instance web {{
  state BACKUP
  nopreempt
  interface eth0
  virtual_router_id 51
  priority {priority}
  advert_int {interval}
  virtual_ipaddress {{ {vip}/32 dev eth0 }}
}}
"""


def keepalived(town: Town, interval: float, count: int) -> list:
    def start(name: str) -> None:
        node = town.lab[name]
        node.sh(f"modprobe ip_vs_mh; ipvsadm -A -t {VIP}:80 -s mh -b mh-fallback,mh-port; sysctl -qw net.ipv4.vs.sloppy_tcp=1")
        for backend in BACKENDS:
            node.sh(f"ipvsadm -a -t {VIP}:80 -r {town.address(backend)}:80 -g")
        node.write("/run/keepalived.conf", CONFIG.format(priority=100 if name == "d" else 90, interval=interval, vip=VIP))
        library = next(KEEPALIVED.glob("usr/lib/*-linux-gnu"))
        node.spawn(
            ["env", f"LD_LIBRARY_PATH={library}", str(KEEPALIVED / "usr/sbin/keepalived"), "-n", "-l", "-P", "-f", "/run/keepalived.conf",
             "-p", "/run/keepalived.pid", "-r", "/run/vrrp.pid"],
            "keepalived.log",
        )

    def revive(name: str) -> None:
        start(name)
        # It has to hear the master before it is a backup.
        time.sleep(3 * interval + 2)

    town.up(*DIRECTORS, *BACKENDS)
    for name in BACKENDS:
        town.lab[name].sh(f"sysctl -qw net.ipv4.conf.eth0.arp_ignore=1 net.ipv4.conf.eth0.arp_announce=2; ip addr add {VIP}/32 dev lo")
    for name in DIRECTORS:
        start(name)
    results = rounds(town, f"keepalived, advert_int {interval}", count, revive)
    town.discard(*DIRECTORS, *BACKENDS)
    return results


def row(name: str, results: list[tuple[float, int, int]]) -> str:
    outages = sorted(outage * 1e3 for outage, _, _ in results)
    at = lambda share: outages[min(len(outages) - 1, int(share * len(outages)))]
    lost, all_ = sum(lost for _, lost, _ in results), sum(all_ for _, _, all_ in results)
    return f"| {name} | {len(outages)} | {statistics.median(outages):.0f} | {at(0.99):.0f} | {outages[-1]:.0f} | {lost} of {all_} |"


def main(count: int) -> None:
    town = Town()
    lines = [
        "## A director loses power", "",
        "Two directors, two real servers, each its own kernel; a connection is begun every 5 ms, and the kernel of the director that holds the VIP is",
        "killed. Milliseconds in which no connection was begun that was answered at once; requests lost are those without an answer after 3 s.",
        "keepalived is Debian's, with the same IPVS services set up by hand. `make bench-failover` writes this section.", "",
        "| | rounds | median | p99 | worst | requests lost |", "|---|---|---|---|---|---|",
    ]
    try:
        say("directway, at its defaults")
        lines.append(row("directway, defaults", directway(town, count)))
        for interval in (0.1, 1):
            say(f"keepalived, advert_int {interval}")
            few = max(5, count // (3 if interval == 0.1 else 10))
            lines.append(row(f"keepalived, advert_int {interval}", keepalived(town, interval, few)))
    finally:
        town.close()
    text = "\n".join(lines) + "\n"
    sections.write(text)
    say(text)


if __name__ == "__main__":
    os.environ.setdefault("DIRECTWAY_GROUND", "uml")
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
