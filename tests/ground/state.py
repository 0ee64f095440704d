"""The state of everything as text: what a failing scenario prints."""

from __future__ import annotations

from .lab import Lab
from .node import Node
from .place import PlaceSilent

COMMANDS = """ip -br addr; ip neigh; echo; ipvsadm -Ln 2>&1 || true; echo
grep . /proc/sys/net/ipv4/conf/*/arp_ignore /proc/sys/net/ipv4/conf/*/arp_announce | sed 's,/proc/sys/net/ipv4/conf/,,' | paste -sd' '"""
OBJECTS = "virtualservices,nodestates"


def describe(lab: Lab) -> str:
    parts = [_node(node) for node in lab.nodes.values()]
    if lab.controller is not None:
        parts.append(f"== controller ==\n{lab.controller.text()[-2000:]}")
    if lab.api is not None:
        parts.append(f"== API objects ==\n{_objects(lab)}")
    return "\n".join(parts)


def _node(node: Node) -> str:
    head = f"== {node.name} =="
    if not node.powered:
        return f"{head}\nis off"
    try:
        text = node.call(COMMANDS, timeout=5).out
    except PlaceSilent as reason:
        text = f"{reason}\n{node.console()[-1000:]}"
    if node.agent is not None:
        text += f"\n-- agent log, its end --\n{node.agent.log()[-3000:]}"
    return f"{head}\n{text}"


def _objects(lab: Lab) -> str:
    try:
        served = lab.api.get("/apis")["groups"]
        ours = OBJECTS if any(group["name"] == "directway.dev" for group in served) else ""
        nodes = lab.kubectl("get nodes --show-labels --no-headers", timeout=5)
        return nodes + (lab.kubectl(f"get {OBJECTS} -A -o yaml", timeout=5) if ours else "")
    except Exception as reason:  # the API server may be what the scenario broke
        return f"not to be had: {reason}"
