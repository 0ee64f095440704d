"""Keeps scenarios apart: finds what a scenario left behind, reports it and undoes it."""

from __future__ import annotations

from . import judges
from .apiserver import ApiError
from .lab import Lab
from .node import Node
from .place import PlaceSilent
from .standard import register

OURS = ("virtualservices", "nodestates", "virtualippools")
GROUP = "/apis/directway.dev/v1alpha1"


class Pristine:
    """State of a lab before a scenario. restore() brings it back and returns what the scenario should have undone."""

    def __init__(self, lab: Lab):
        self.lab = lab
        lab.boot()
        self.before = {name: judges.snapshot(node) for name, node in lab.nodes.items()}
        self.nics = {name: list(node.nics) for name, node in lab.nodes.items()}
        self.other_hosts = set(lab.other_hosts)

    def restore(self) -> str:
        """Ends agents, controller and every process a scenario started on a node; removes objects; heals faults.

        A node whose kernel state differs is reported and rebooted. A scenario may leave agents and objects behind, because
        most scenarios check what is there while both exist.
        """
        for forwarder in self.lab.forwarders():
            forwarder.heal()
        if self.lab.controller is not None:
            self.lab.controller.kill()
            self.lab.controller = None
        for name in set(self.lab.other_hosts) - self.other_hosts:
            self.lab.remove_host(name)
        if self.lab.api is not None:
            self._remove_objects()
        left = [note for node in self.lab.nodes.values() if (note := self._node(node))]
        if self.lab.api is not None:
            register(self.lab)
        return "\n".join(left)

    def _node(self, node: Node) -> str:
        if not node.powered:
            node.start()
            node.wait_ready()
            return ""  # a reboot leaves nothing
        node.thaw() if "freeze" in node.abilities else None
        for index, nic in enumerate(node.nics):
            node.join(index) if nic.port else None
        try:
            node.end_processes()
            difference = judges.difference(self.before[node.name], judges.snapshot(node))
            node.sh("rm -rf /run/directway /run/manifests")
        except PlaceSilent as reason:
            difference = str(reason)
        if difference or node.nics != self.nics[node.name]:
            node.nics[:] = self.nics[node.name]
            node.reboot()
        return f"{node.name}:\n{difference}" if difference else ""

    def _remove_objects(self) -> None:
        for kind in OURS:
            try:
                items = self.lab.api.get(f"{GROUP}/{kind}")["items"]
            except ApiError as reason:
                if reason.status != 404:
                    raise
                continue
            for item in items:
                self._remove(kind, item["metadata"])
        for node in self.lab.api.get("/api/v1/nodes")["items"]:
            if node["metadata"]["name"] not in self.lab.nodes:
                self.lab.api.request("DELETE", f"/api/v1/nodes/{node['metadata']['name']}")

    def _remove(self, kind: str, meta: dict) -> None:
        space = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
        path = f"{GROUP}{space}/{kind}/{meta['name']}"
        if meta.get("finalizers"):
            patch = {"metadata": {"finalizers": None}}
            self.lab.api.request("PATCH", path, patch, "application/merge-patch+json")
        try:
            self.lab.api.request("DELETE", path)
        except ApiError as reason:
            if reason.status != 404:
                raise
