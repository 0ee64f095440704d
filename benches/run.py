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


def bench_program() -> Path:
    """cargo says where it is."""
    command = ["cargo", "build", "--locked", "--profile", "bench", "--bench", "kernel", "--message-format=json"]
    built = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    artifacts = [json.loads(line) for line in built.splitlines() if line.startswith("{")]
    return next(Path(a["executable"]) for a in artifacts if a.get("executable") and a["target"]["name"] == "kernel")


def shipped_binary() -> Path:
    """The one that the image holds: static, and optimised for size."""
    say("Build the static release binary (several minutes the first time)")
    built = subprocess.run([".ci/static"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return ROOT / built.strip()


def farm(lab: Lab, count: int = 11) -> None:
    """A machine that answers for many real servers' addresses."""
    space = lab.bystander("farm")
    for number in range(count):
        space.sh(["ip", "addr", "add", f"10.77.0.{201 + number}/24", "dev", "eth0"])


def tables(services: int) -> list[dict]:
    say(f"Fill the kernel's tables with {services} services and {services * 10} destinations: ours, raw netlink, ipvsadm -R")
    with Lab() as lab:
        node = lab.node("d", memory=1024)
        lab.boot()
        farm(lab)
        result = node.run_binary(bench_program(), [VIP, FARM, services], timeout=900)
        if not result.ok:
            sys.exit(f"the bench failed:\n{result.out}{result.err}")
        rows = [json.loads(line) for line in result.out.splitlines() if line.startswith("{")]
        for row in rows:
            say(f"  {row}")
        return [{"kernel": node.sh("uname -r").strip()}, *rows]


def main(services: int) -> None:
    began = time.monotonic()
    binary = shipped_binary()
    os.environ["DIRECTWAY_BIN"] = str(binary)
    kernel, *rows = tables(services)
    say("Peak memory of the agent")
    peaks = [memory.peak(n) for n in (10, 1000, services)]
    for row in peaks:
        say(f"  {row}")
    say("From kubectl to the first good request, and from a change to the kernel")
    delays = latency.measure(50)
    for name, values in delays.items():
        say(f"  {name}: median {statistics.median(values) * 1e3:.0f} ms, worst {max(values) * 1e3:.0f} ms")
    page.write(
        ROOT / "docs", rows=rows, peaks=peaks, delays=delays, binary=binary,
        machine=f"{os.cpu_count()} CPUs, {cpu()}, Linux {platform.release()}; nodes: user-mode-linux {kernel['kernel']}",
    )
    say(f"Written to docs/benchmarks.md after {time.monotonic() - began:.0f} s")


def cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
