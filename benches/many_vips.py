"""What passes and changes cost with many VIPs, each of a VirtualService of its own, and how that grows.

Usage: PYTHONPATH=tests python3 benches/many_vips.py [VIPS …]   writes its section of docs/benchmarks.md
"""

from __future__ import annotations

import math
import os
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "lab"), str(ROOT / "benches")]

import sections  # noqa: E402
from ground import Lab  # noqa: E402
from ground.agent import manifest  # noqa: E402
from ground.objects import virtual_service  # noqa: E402
from ground.wait import wait_until  # noqa: E402
from run import shipped_binary  # noqa: E402
from support.objects import many_vips, node_manifest  # noqa: E402

COUNTS = [1000, 2000, 4000, 10_000]
# One director, and real servers in groups; a VirtualService has one group.
NODES, GROUPS = 100, 10
# Seconds over which passes at rest are counted.
REST = 45
# Replaces a manifest and prints the seconds until the kernel has what follows. It runs in the node, because a question from outside takes longer.
CHANGE = """
import os, subprocess, sys, time
source, target, service, pattern, limit = sys.argv[1:6]
began = time.monotonic()
os.rename(source, target)
while time.monotonic() - began < float(limit):
    out = subprocess.run(["ipvsadm", "-Ln", "-t", service], capture_output=True, text=True).stdout
    if pattern in " ".join(out.split()):
        print(f"{time.monotonic() - began:.3f}")
        break
    time.sleep(0.02)
else:
    sys.exit(f"never: {out}")
"""


@dataclass
class Row:
    vips: int
    filled: float
    rest: float
    cpu: float
    change: float
    weight: float


def services(count: int) -> list[dict]:
    return [
        virtual_service(
            f"web-{n}", vip, directors={"interface": "eth0"}, real_servers={"nodeSelector": {"matchLabels": {"group": f"g{n % GROUPS}"}}},
        )
        for n, vip in enumerate(many_vips(count))
    ]


def nodes(address: str, weight: str | None = None) -> str:
    """All Nodes; `weight` is that of the first real server."""
    made = [node_manifest("d", address, {"directway.dev/director": "true"}, {})]
    for n in range(NODES - 1):
        annotations = {"directway.dev/weight": weight} if weight and n == 0 else {}
        labels = {"directway.dev/backend": "true", "group": f"g{n % GROUPS}"}
        made.append(node_manifest(f"b{n}", f"10.77.0.{100 + n}", labels, annotations))
    return manifest(*made)


def passes(agent) -> tuple[float, float]:
    metrics = agent.metrics()
    return metrics["directway_pass_duration_seconds_count"], metrics["directway_pass_duration_seconds_sum"]


def cpu_seconds(node, process: int) -> float:
    fields = node.sh(f"cat /proc/{process}/stat").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def measure(count: int) -> Row:
    with Lab() as lab:
        node = lab.node("d", memory=2048)
        lab.boot()
        farm = lab.add_host("farm")
        for number in range(NODES - 1):
            farm.sh(["ip", "addr", "add", f"10.77.0.{100 + number}/24", "dev", "eth0"])
        node.sh("mkdir -p /run/manifests")
        node.write("/run/change.py", CHANGE)
        node.put_manifest("nodes.yaml", nodes(node.ip))
        made = services(count)
        for first in range(0, count, 500):
            node.put_manifest(f"many-{first:05}.yaml", manifest(*made[max(first, 1) : first + 500]))
        node.put_manifest("one.yaml", manifest(made[0]))
        began = time.monotonic()
        agent = node.start_agent("dir")

        def served() -> bool:
            metrics = agent.metrics()
            found = metrics.get("directway_vips_held", 0), metrics.get("directway_services", 0)
            assert found == (count, count), f"held and served: {found} of {count}"
            return True

        wait_until(served, f"{count} VIPs to be held and served", 900, every=0.5)
        filled = time.monotonic() - began
        time.sleep(5)
        process = agent.process.pid
        before, cpu, started = passes(agent), cpu_seconds(node, process), time.monotonic()
        time.sleep(REST)
        after, busy, took = passes(agent), cpu_seconds(node, process) - cpu, time.monotonic() - started
        number = after[0] - before[0]
        if not number:
            sys.exit(f"no pass in {REST} s at rest")
        vip = many_vips(1)[0]

        def change(text: str, target: str, pattern: str) -> float:
            node.write("/run/next.yaml", text)
            command = ["python3", "-S", "/run/change.py", "/run/next.yaml", f"/run/manifests/{target}", f"{vip}:80", pattern, "120"]
            seconds = float(node.sh(command, timeout=150))
            time.sleep(3)
            return seconds

        schedulers = ("wrr", "lc", "wlc")
        edited = [dict(made[0], spec=dict(made[0]["spec"], scheduler={"name": name})) for name in schedulers]
        changes = [change(manifest(one), "one.yaml", f" {name}") for name, one in zip(schedulers, edited, strict=True)]
        weights = [change(nodes(node.ip, str(weight)), "nodes.yaml", f"10.77.0.100:80 Route {weight}") for weight in (7, 8, 9)]
        row = Row(count, filled, (after[1] - before[1]) / number, busy / took, statistics.median(changes), statistics.median(weights))
        print(f"  {row}", flush=True)
        return row


def exponent(rows: list[Row], of) -> float:
    """The slope of a straight line through the logarithms: 1 = in proportion to the number of VIPs, 2 = with its square."""
    points = [(math.log(row.vips), math.log(of(row))) for row in rows]
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def main(counts: list[int]) -> None:
    if "DIRECTWAY_BIN" not in os.environ:
        os.environ["DIRECTWAY_BIN"] = str(shipped_binary())
    rows = [measure(count) for count in counts]
    lines = "\n".join(f"| {row.vips:,} | {row.filled:.1f} | {row.rest:.3f} | {row.cpu:.1%} | {row.change:.2f} | {row.weight:.2f} |" for row in rows)
    grows = [f"{exponent(rows, of):.2f}" for of in (lambda r: r.rest, lambda r: r.change, lambda r: r.weight)] if len(rows) > 1 else ["–"] * 3
    text = f"""## What many VIPs cost

One director holds all VIPs, each of a VirtualService of its own; {NODES - 1} real servers in {GROUPS} groups, a VirtualService selects one group. Manifests come
from a directory, the binary is the image's. The last row is the exponent with which seconds grow: 1 = in proportion to the VIPs, 2 = with their
square. `make bench-many` writes this section.

| VIPs | start to all held, s | a pass at rest, s | CPU at rest | one scheduler changed → kernel, s | one node's weight changed, in a tenth of the services → kernel, s |
|---:|---:|---:|---:|---:|---:|
{lines}
| exponent | | {grows[0]} | | {grows[1]} | {grows[2]} |
"""
    sections.write(text)
    print(text)


if __name__ == "__main__":
    os.environ.setdefault("DIRECTWAY_GROUND", "uml")
    main([int(count) for count in sys.argv[1:]] or COUNTS)
