"""How much memory the agent needs at its peak (VmHWM), with many VirtualServices from a directory."""

from __future__ import annotations

import re

from ground import Lab, judges
from ground.agent import manifest
from ground.wait import wait_until

VIP = "10.77.0.100"


def virtual_services(count: int) -> str:
    """`count` VirtualServices with a port and ten external real servers each."""
    objects = []
    for first in range(count):
        objects.append({
            "apiVersion": "directway.dev/v1alpha1", "kind": "VirtualService", "metadata": {"name": f"vs-{first:05}"},
            "spec": {
                "vips": [VIP], "ports": [{"port": 1 + first}], "scheduler": {"name": "wrr"},
                "realServers": {"external": [{"address": f"10.77.0.{201 + n}"} for n in range(10)]},
            },
        })
    return manifest(*objects)


def peak(count: int) -> dict:
    with Lab() as lab:
        node = lab.node("d", memory=1024)
        lab.boot()
        space = lab.add_host("farm")
        for number in range(10):
            space.sh(["ip", "addr", "add", f"10.77.0.{201 + number}/24", "dev", "eth0"])
        node.sh("mkdir -p /run/manifests")
        address = {"type": "InternalIP", "address": node.ip}
        director = {
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "d", "labels": {"directway.dev/director": "true"}},
            "status": {"addresses": [address]},
        }
        # Through the exchange directory, because the line to the node cannot carry a command of that length.
        node.put_manifest("node.yaml", manifest(director))
        text = virtual_services(count).split("\n---\n")
        for part in range(0, len(text), 500):
            node.put_manifest(f"vs-{part:05}.yaml", "\n---\n".join(text[part : part + 500]))
        agent = node.start_agent("dir")

        def programmed() -> bool:
            lines = node.sh("grep -c '^TCP' /proc/net/ip_vs || true")
            return int(lines) == count and int(node.sh("grep -c -- '->' /proc/net/ip_vs")) >= 10 * count

        wait_until(programmed, f"{count} services in the kernel", 300, every=0.5)
        agent.wait_ready(30)
        status = node.sh(f"cat /proc/{agent.process.pid}/status")
        values = {key: int(re.search(rf"{key}:\s+(\d+) kB", status).group(1)) for key in ("VmHWM", "RssAnon", "RssFile")}
        assert judges.devices_with(node, VIP) == ["eth0", "lo"]
        return {"services": count, "destinations": 10 * count, **{key.lower() + "_kib": value for key, value in values.items()}}
