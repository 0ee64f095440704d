"""Section "Cluster level" of docs/benchmarks.md, from the summary that `make cluster-test` leaves behind.

Usage: python3 benches/cluster_level.py, which writes that section; `make bench` writes it with the rest.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import sections

ROOT = Path(__file__).resolve().parents[1]
SUMMARY = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "cluster-test.xml"
# The element in a <testcase> of JUnit's format, unless the test passed.
OUTCOMES = {"failure": "failed", "error": "failed", "skipped": "skipped"}


@dataclass
class Module:
    """The tests of one file."""

    seconds: float = 0
    counts: Counter[str] = field(default_factory=Counter)


def render(root: ElementTree.Element) -> str:
    (suite,) = root.iter("testsuite")
    modules: dict[str, Module] = {}
    requests = []
    for case in suite.iter("testcase"):
        name = case.get("classname").split(".")[-1]
        module = modules.setdefault(name, Module())
        module.seconds += float(case.get("time"))
        module.counts[outcome(case)] += 1
        seen = properties(case)
        if "requests" in seen:
            requests.append(f"| `{name}::{case.get('name')}` | {int(seen['requests']):,} | {int(seen['lost']):,} |")
    rows = [
        f"| `{name}` | {one.counts['passed']} | {one.counts['failed']} | {one.counts['skipped']} | {one.seconds:.0f} |"
        for name, one in modules.items()
    ]
    times = properties(suite)
    return f"""## Cluster level

`make cluster-test` of {suite.get("timestamp")[:10]}: {float(suite.get("time")):.0f} s in all. {sentence(times)}

| tests | passed | failed | skipped | seconds |
|---|---:|---:|---:|---:|
{chr(10).join(rows)}

{lost(requests)}"""


def outcome(case: ElementTree.Element) -> str:
    return next((OUTCOMES[part.tag] for part in case if part.tag in OUTCOMES), "passed")


def properties(element: ElementTree.Element) -> dict[str, str]:
    return {one.get("name"): one.get("value") for one in element.findall("properties/property")}


def sentence(times: dict[str, str]) -> str:
    parts = []
    if "ready_seconds" in times:
        parts.append(f"{times['nodes']} nodes, each a kernel of its own, were Ready {float(times['ready_seconds']):.1f} s after their start")
    if "install_seconds" in times:
        parts.append(f"`helm install --wait` took {float(times['install_seconds']):.1f} s")
    return "; ".join(parts) + "." if parts else ""


def lost(rows: list[str]) -> str:
    if not rows:
        return "No test told of requests.\n"
    head = "Requests while every agent was replaced:\n\n| test | sent | lost |\n|---|---:|---:|\n"
    return head + "\n".join(rows) + "\n"


def main() -> None:
    if not SUMMARY.exists():
        raise SystemExit(f"{SUMMARY} is missing: run `make cluster-test` (all of it, without SCENARIO)")
    sections.write(render(ElementTree.parse(SUMMARY).getroot()))


if __name__ == "__main__":
    main()
