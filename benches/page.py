"""docs/benchmarks.md and its plot."""

from __future__ import annotations

import datetime
import statistics
from pathlib import Path

import cluster_level
import sections


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def write(docs: Path, *, fill: dict, peaks: list[dict], delays: dict, binary: Path, machine: str) -> None:
    seconds = fill["seconds"]
    ours, floor, ipvsadm = seconds["ours"], seconds["floor"], seconds["ipvsadm"]
    plot(docs / "benchmarks.svg", seconds)
    sections.write(f"""# Benchmarks

`make bench` measures in the lab and writes this page. Seconds depend on the machine, and user-mode-linux makes system calls dear;
ratios within one run are what counts.

Run on {datetime.date.today().isoformat()}: {machine}.

## Filling the kernel's tables

{fill["services"]:,} services with {fill["destinations"]:,} destinations (wrr), from synced sources until the kernel has
acknowledged the last of them. Medians of three, each in a kernel that was just booted.

![Seconds until the tables are full](benchmarks.svg)

| way | seconds | of the floor |
|---|---:|---:|
| raw netlink: messages encoded before, batches of 64, one acknowledgement a batch | {floor:.2f} | 1.0 |
| directway: look, decide, plan, write the ledger, apply | {ours:.2f} | {ours / floor:.1f} |
| `ipvsadm -R` of the same tables | {ipvsadm:.2f} | {ipvsadm / floor:.1f} |

directway is {ipvsadm / ours:.1f} times as fast as `ipvsadm -R`. Its whole pass takes {fill["pass_seconds"]:.2f} s: it looks again, because it reports what is
there and not what it did. A pass over these tables when nothing changed: {fill["idle_seconds"]:.2f} s,
{fill["idle_changes"]} messages that change something.

## One real server more

| services in the kernel | messages sent | seconds for the pass |
|---:|---:|---:|
{chr(10).join(f"| {row['services']:,} | {row['changes']} | {row['seconds']:.3f} |" for row in fill["more"])}

## Memory of the agent

Peak (VmHWM) with manifests from a directory; anonymous and file-backed parts at the end.

| services | destinations | peak, MiB | anonymous, MiB | file-backed, MiB |
|---:|---:|---:|---:|---:|
{chr(10).join(f"| {row['services']:,} | {row['destinations']:,} | {row['vmhwm_kib'] / 1024:.1f} | {row['rssanon_kib'] / 1024:.1f} | {row['rssfile_kib'] / 1024:.1f} |" for row in peaks)}

The static binary, all that the image holds, has {binary.stat().st_size / 2**20:.1f} MiB.

## From a change to its effect

With a real API server, three real servers and one director.

| change | n | median, ms | p95, ms | p99, ms | worst, ms |
|---|---:|---:|---:|---:|---:|
{chr(10).join(delay(name, values) for name, values in delays.items())}
""")
    if cluster_level.SUMMARY.exists():
        cluster_level.main()


def delay(name: str, values: list[float]) -> str:
    figures = [statistics.median(values), percentile(values, 0.95), percentile(values, 0.99), max(values)]
    return f"| {name} | {len(values)} | " + " | ".join(f"{value * 1e3:.0f}" for value in figures) + " |"


def plot(path: Path, seconds: dict) -> None:
    bars = [("raw netlink", seconds["floor"]), ("directway", seconds["ours"]), ("ipvsadm -R", seconds["ipvsadm"])]
    longest = max(value for _, value in bars)
    parts = []
    for number, (name, value) in enumerate(bars):
        top, width = 16 + number * 40, max(2, 420 * value / longest)
        parts.append(f'<text x="96" y="{top + 19}" text-anchor="end">{name}</text>')
        parts.append(f'<rect x="104" y="{top}" width="{width:.0f}" height="28" fill="#2f6f9f"/>')
        parts.append(f'<text x="{112 + width:.0f}" y="{top + 19}">{value:.2f} s</text>')
    path.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="620" height="140" font-family="sans-serif" font-size="14">'
        '<rect width="620" height="140" fill="white"/>' + "".join(parts) + "</svg>\n"
    )
