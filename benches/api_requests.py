"""How many requests a director at rest sends to the API server, with many VirtualServices.

Usage: PYTHONPATH=tests python3 benches/api_requests.py [SERVICES]   writes its section of docs/benchmarks.md
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "lab")]

import sections  # noqa: E402
from ground import audit, judges  # noqa: E402
from ground.wait import wait_until  # noqa: E402
from support import Cluster, Site, virtual_service  # noqa: E402
from support.objects import many_vips  # noqa: E402

ACCOUNT = "default/at-rest"
# Twice the life of a watch: agents renew each every two minutes.
SECONDS = 240
# Objects per kubectl run: with one run for each, a thousand objects would take minutes.
BATCH = 100
# The audit log has several stages of a request, and the last one is counted; a watch counts at its beginning, because it ends late.
STAGE = {"watch": "ResponseStarted"}


def requests(services: int) -> Counter[tuple[str, str]]:
    """Number of requests of one director's agent, by verb and resource."""
    site = Site()
    try:
        fleet = Cluster(site)
        fleet.api.kubectl("create serviceaccount at-rest")
        fleet.api.kubectl(f"create clusterrolebinding at-rest --clusterrole=cluster-admin --serviceaccount={ACCOUNT.replace('/', ':')}")
        fleet.assign_roles(directors=("d",), real_servers=("r1",))
        fleet.start("d", service_account=ACCOUNT)
        fleet.start("r1")
        made = [virtual_service(f"web-{n}", vip, directors={"interface": "eth0"}) for n, vip in enumerate(many_vips(services))]
        for n in range(0, services, BATCH):
            fleet.api.apply(*made[n : n + BATCH])
        print(f"{services:,} VirtualServices are applied", flush=True)
        wait_until(lambda: len(judges.services(fleet.director())) == services, f"{services} services", 120)
        print(f"their services are programmed; requests are counted for {SECONDS} s", flush=True)
        time.sleep(10)
        began = time.time()
        time.sleep(SECONDS)
        events = audit.asked(fleet.api, ACCOUNT)
        return Counter({
            (verb, resource): count
            for (verb, _, resource), found in events.items()
            if (count := sum(event["stage"] == STAGE.get(verb, "ResponseComplete") and audit.received(event) >= began for event in found))
        })
    finally:
        site.close()


def main(services: int) -> None:
    counts = requests(services)
    rows = [f"| {verb} {resource} | {count} |" for (verb, resource), count in sorted(counts.items())]
    text = f"""## A director at rest

Requests to the API server in {SECONDS} s while nothing changes, with {services:,} VirtualServices: {counts.total() / SECONDS:.2f} a second.
A watch counts when it begins.

| request | times |
|---|---:|
{chr(10).join(rows)}
"""
    sections.write(text)
    print(text)


if __name__ == "__main__":
    os.environ.setdefault("DIRECTWAY_GROUND", "uml")
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
