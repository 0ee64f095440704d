"""Helpers for VirtualServices in the lab's scenarios, and Nodes for a directory of manifests."""

from __future__ import annotations

WEIGHT = "directway.dev/weight"


def many_vips(count: int) -> list[str]:
    """VIPs outside of the segment's own network, so that `spec.directors.interface` must name the NIC; no client uses them."""
    return [f"10.{100 + n // 62500}.{n // 250 % 250}.{n % 250 + 1}" for n in range(count)]


def vip_of(service: dict) -> str:
    return service["spec"]["vips"][0]


def key_of(service: dict, port: int | None = None) -> str:
    """`VIP:PORT` as ipvsadm prints it; the first port unless one is named."""
    return f"{vip_of(service)}:{port or service['spec']['ports'][0]['port']}"


def node_manifest(name: str, address: str, labels: dict[str, str], annotations: dict[str, str]) -> dict:
    """A v1 Node for a directory of manifests."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": annotations},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]},
    }


def condition(service: dict, kind: str) -> dict:
    """One condition of a VirtualService that was read from the API; KeyError if it has none of that type."""
    for one in service.get("status", {}).get("conditions", []):
        if one["type"] == kind:
            return one
    raise KeyError(f"{service['metadata']['name']} has no condition {kind}")
