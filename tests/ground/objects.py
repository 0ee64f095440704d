"""The VirtualService that tests, benches and fixtures apply, and the labels that give a node its role."""

from __future__ import annotations

VIP = "10.77.0.100"
DIRECTOR = {"directway.dev/director": "true"}
BACKEND = {"directway.dev/backend": "true"}


def virtual_service(
    name: str = "web", vip: str = VIP, *ports: int, scheduler: str | None = "rr", real_servers: dict | None = None, **spec
) -> dict:
    """A VirtualService for TCP port 80 (or `ports`) on every real server; `spec` adds or replaces fields, None leaves one out.

    Draining is short here; a test of draining sets its own time.
    """
    fields = {
        "vips": [vip],
        "ports": [{"name": f"p{port}", "port": port, "protocol": "TCP"} for port in ports or (80,)],
        "scheduler": scheduler and {"name": scheduler},
        "realServers": {"nodeSelector": {}, **(real_servers or {})},
        "drainSeconds": 1,
        **spec,
    }
    return {
        "apiVersion": "directway.dev/v1alpha1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {field: value for field, value in fields.items() if value is not None},
    }
