"""How soon another director has many VIPs when the director that holds all of them loses power.

Usage: PYTHONPATH=tests python3 benches/takeover.py [VIPS]   writes its section of docs/benchmarks.md
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
from ground import judges  # noqa: E402
from ground.agent import manifest  # noqa: E402
from ground.capture import Capture  # noqa: E402
from ground.wait import wait_until  # noqa: E402
from support import Hosts, Site, virtual_service  # noqa: E402
from support.objects import many_vips  # noqa: E402

HOLDER, STANDBY, REAL_SERVER = "r3", "d", "r1"
ROUNDS = 3


def wait_all(site: Site, name: str, count: int, what: str, found) -> None:
    def reached() -> bool:
        seen = found(site.lab[name])
        assert seen == count, f"{name}: {seen} of {count}"
        return True

    wait_until(reached, f"{name} to have {count} {what}", 180)


def on_nic(node) -> int:
    return sum(address.startswith("10.1") and address.endswith("/32") for address in judges.addresses(node).get("eth0", []))


def served(node) -> int:
    return sum(any(it.weight for it in service.destinations.values()) for service in judges.services(node).values())


def takeover(site: Site, count: int) -> list[float]:
    """Seconds from the loss of power to each VIP's first announcement by the other director."""
    mac, wanted = site.mac(STANDBY), set(many_vips(count))
    with Capture(site.host, "lan", "arp") as capture:
        killed = time.time()
        site.lab[HOLDER].power_off()
        wait_all(site, STANDBY, count, "VIPs on its NIC", on_nic)
        time.sleep(1)
    first: dict[str, float] = {}
    for frame in capture.stop():
        if frame.arp and frame.arp_sender_mac == mac and frame.arp_sender_ip in wanted and frame.time >= killed:
            first.setdefault(frame.arp_sender_ip, frame.time - killed)
    assert len(first) == count, f"{len(first)} of {count} VIPs were announced"
    return sorted(first.values())


def rounds(count: int) -> list[list[float]]:
    site = Site()
    try:
        fleet = Hosts(site)
        fleet.assign_roles(directors=(HOLDER, STANDBY), real_servers=(REAL_SERVER,))
        text = manifest(*(
            virtual_service(f"web-{n}", vip, scheduler="mh", directors={"interface": "eth0", "preferred": HOLDER}) for n, vip in enumerate(many_vips(count))
        ))
        for name in (HOLDER, STANDBY, REAL_SERVER):
            site.lab[name].put_manifest("many.yaml", text)
        fleet.start()
        results = []
        for number in range(ROUNDS):
            for name in (HOLDER, STANDBY):
                wait_all(site, name, count, "services with a destination", served)
            wait_all(site, HOLDER, count, "VIPs on its NIC", on_nic)
            results.append(times := takeover(site, count))
            print(f"  {number + 1}/{ROUNDS}: first {times[0] * 1e3:.0f} ms, median {statistics.median(times) * 1e3:.0f} ms, last {times[-1] * 1e3:.0f} ms", flush=True)
            if number + 1 < ROUNDS:
                site.discard(HOLDER)
                site.up(HOLDER)
                site.lab[HOLDER].put_manifest("many.yaml", text)
                fleet.start(HOLDER)
        return results
    finally:
        site.close()


def main(count: int) -> None:
    results = rounds(count)
    rows = [f"| {times[0] * 1e3:.0f} | {statistics.median(times) * 1e3:.0f} | {times[-1] * 1e3:.0f} |" for times in results]
    text = f"""## Many VIPs at once

One of two directors holds {count:,} VIPs and loses power. Milliseconds until the other one has announced them, from a capture; `make bench-takeover` writes
this section.

| the first VIP | half of them | the last VIP |
|---:|---:|---:|
{chr(10).join(rows)}
"""
    sections.write(text)
    print(text)


if __name__ == "__main__":
    os.environ.setdefault("DIRECTWAY_GROUND", "uml")
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
