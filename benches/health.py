"""What 2,000 health checks cost a director, natively on this machine.

Usage: PYTHONPATH=tests python3 benches/health.py [SECONDS]   writes its section of docs/benchmarks.md
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests")]

import sections  # noqa: E402
from ground import Lab, judges  # noqa: E402
from ground.wait import wait_until  # noqa: E402
from run import bench_program  # noqa: E402

SERVERS, EACH = 10, 200
# Listens on all ports in one process, and answers each request at once.
ANSWER = f"""
import asyncio
async def serve(reader, writer):
    try:
        if await reader.read(1024):
            writer.write(b'HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\nconnection: close\\r\\n\\r\\nok')
            await writer.drain()
    except OSError:
        pass
    writer.close()
async def main():
    for port in [80, *range(8000, {8000 + EACH})]:
        await asyncio.start_server(serve, '0.0.0.0', port, backlog=512)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def measure(seconds: int) -> dict[str, dict]:
    health = bench_program("health")
    with Lab() as lab:
        farm = lab.add_host("farm")
        farm.sh("sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.tcp_max_syn_backlog=4096")
        for number in range(SERVERS):
            farm.sh(f"ip addr add 10.77.0.{201 + number}/24 dev eth0")
        for number in range(EACH):
            farm.sh(f"ip addr add 10.77.1.{number}/32 dev lo")
        answering = farm.spawn([sys.executable, "-c", ANSWER], "answer.log")
        wait_until(lambda: farm.ok("ss -Hltn 'sport = :80' | grep -q ."), "the applications to listen")
        index = lab.host.sh("cat /sys/class/net/lan/ifindex").strip()
        source = lab.host.sh("ip -4 -o addr show dev lan").split()[3].partition("/")[0]
        arguments = [seconds, index, judges.mac(lab.host, "lan"), source, judges.mac(farm, "eth0")]
        rows = {}
        for kind in ("path", "tcp", "http"):
            rows[kind] = json.loads(lab.host.sh([health, kind, *arguments], timeout=seconds + 60))
            print(kind, rows[kind], flush=True)
        answering.kill()
        return rows


def main(seconds: int) -> None:
    rows = measure(seconds)
    lines = []
    for kind, row in rows.items():
        rate = (row["passed"] + row["failed"]) / row["seconds"]
        share = row["cpu_ticks"] / row["seconds"]
        lines.append(f"| {kind} | {rate:,.0f} | {row['failed']:,.0f} | {share:.1f}% | {row['peak_kib'] / 1024:.1f} |")
    text = f"""## What health checks cost

{SERVERS * EACH:,} checks every two seconds for {seconds} s, natively: the thread of an agent that makes them, and nothing else. `make bench-health`
writes this section.

| check | a second | failed | of one processor | peak memory, MiB |
|---|---:|---:|---:|---:|
{chr(10).join(lines)}
"""
    sections.write(text)
    print(text)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
