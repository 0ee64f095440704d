"""Runs the benches in the lab and writes docs/benchmarks.md and its plot. Ratios within one run count, not seconds.

Usage: PYTHONPATH=tests python3 benches/run.py [SERVICES]
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benches")]

from ground import Lab  # noqa: E402

import latency  # noqa: E402
import memory  # noqa: E402
import page  # noqa: E402

VIP, FARM = "10.77.0.100", "10.77.0.201"


def say(text: str) -> None:
    print(text, flush=True)


def bench_program(name: str) -> Path:
    """Builds a bench program; cargo prints its path."""
    command = ["cargo", "build", "--locked", "--profile", "bench", "--bench", name, "--message-format=json"]
    built = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    artifacts = [json.loads(line) for line in built.splitlines() if line.startswith("{")]
    return next(Path(a["executable"]) for a in artifacts if a.get("executable") and a["target"]["name"] == name)


def shipped_binary() -> Path:
    """Builds the image's binary: static, and optimised for size."""
    say("Build the static release binary (several minutes the first time)")
    built = subprocess.run([".ci/static"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return ROOT / built.strip()


def farm(lab: Lab, count: int = 11) -> None:
    """Adds a host that answers ARP for the addresses of many real servers."""
    space = lab.add_host("farm")
    for number in range(count):
        space.sh(["ip", "addr", "add", f"10.77.0.{201 + number}/24", "dev", "eth0"])


def in_node(lab: Lab, program: Path, way: str, services: int) -> dict:
    """Runs the bench program in a fresh kernel; returns its result."""
    node = lab.node(f"{way}{len(lab.nodes)}", memory=1024)
    node.start()
    node.wait_ready()
    result = node.run_binary(program, [way, VIP, FARM, services], timeout=300)
    node.power_off()
    if not result.ok:
        sys.exit(f"the bench failed:\n{result.out}{result.err}")
    row = json.loads(next(line for line in result.out.splitlines() if line.startswith("{")))
    say(f"  {way:10} {row}")
    return row


def tables(services: int) -> dict:
    """Runs each way in turn, three times; takes medians, so that a single disturbance does not count."""
    say(f"Fill the kernel's tables with {services} services and {services * 10} destinations: ours, raw netlink, ipvsadm -R")
    program = bench_program("kernel")
    with Lab() as lab:
        farm(lab)
        rows: dict[str, list[dict]] = {"ours": [], "floor": [], "ipvsadm": []}
        for way in [*rows] * 3:
            rows[way].append(in_node(lab, program, way, services))
        say("One real server more")
        more = [in_node(lab, program, "one-more", size) for size in (10, services)]
    ours = rows["ours"]
    return {
        "services": services, "destinations": services * 10,
        "seconds": {way: statistics.median(row["seconds"] for row in found) for way, found in rows.items()},
        "pass_seconds": statistics.median(row["pass_seconds"] for row in ours),
        "idle_seconds": statistics.median(row["idle_seconds"] for row in ours),
        "idle_changes": max(row["idle_changes"] for row in ours),
        "more": more,
    }


def main(services: int) -> None:
    began = time.monotonic()
    binary = shipped_binary()
    os.environ["DIRECTWAY_BIN"] = str(binary)
    fill = tables(services)
    say("Peak memory of the agent")
    peaks = [memory.peak(n) for n in (10, 1000, services)]
    for row in peaks:
        say(f"  {row}")
    say("From kubectl to the first good request, and from a change to the kernel")
    delays = latency.measure(50)
    for name, values in delays.items():
        say(f"  {name}: median {statistics.median(values) * 1e3:.0f} ms, worst {max(values) * 1e3:.0f} ms")
    page.write(
        ROOT / "docs", fill=fill, peaks=peaks, delays=delays, binary=binary,
        machine=f"{os.cpu_count()} CPUs, {cpu()}, Linux {platform.release()}; nodes: user-mode-linux 6.1",
    )
    say(f"Written to docs/benchmarks.md after {time.monotonic() - began:.0f} s")


def cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
