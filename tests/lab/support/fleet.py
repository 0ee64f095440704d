"""The agents on the nodes of a site, which read from the Kubernetes API or from a directory of manifests on each node."""

from __future__ import annotations

from ground import judges
from ground.agent import Agent, manifest
from ground.apiserver import ApiError
from ground.node import Node
from ground.objects import BACKEND, DIRECTOR, virtual_service
from ground.state import describe
from ground.wait import wait_until

from .objects import WEIGHT, condition, key_of, node_manifest, vip_of
from .site import Site

MERGE = "application/merge-patch+json"
SERVICES = "/apis/directway.dev/v1alpha1/namespaces/default/virtualservices"


class Fleet:
    """Base class. Scenarios call assign_roles(), apply VirtualServices and check what the kernels do."""

    source: str

    def __init__(self, site: Site):
        self.site, self.lab, self.host = site, site.lab, site.host
        self.labels: dict[str, dict[str, str]] = {}
        self.annotations: dict[str, dict[str, str]] = {}
        self.services: dict[str, dict] = {}
        self.assigned: list[str] = []

    # Writing to the sources: the differences between the fleets ----------------------------------------

    def _prepare(self, name: str) -> None:
        """Runs before an agent starts on a node, which may have just booted."""

    def _write_node(self, name: str) -> None:
        raise NotImplementedError

    def _write_service(self, service: dict) -> None:
        raise NotImplementedError

    def _remove_service(self, name: str) -> None:
        raise NotImplementedError

    def _forget_nodes(self, *names: str) -> None:
        """What the agents of nodes that are gone (of all, if none is named) have reported must not reach the next scenario."""

    # Nodes ------------------------------------------------------------------------------------------

    def assign_roles(self, directors: tuple[str, ...] = ("d",), real_servers: tuple[str, ...] = ("r1", "r2")) -> "Fleet":
        """Gives these nodes, and no others, their roles; boots them, but does not start their agents."""
        self.assigned = list(dict.fromkeys([*directors, *real_servers]))
        self.site.up(*self.assigned)
        for name in dict.fromkeys([*self.assigned, *self.labels]):
            self.label(name, {**(DIRECTOR if name in directors else {}), **(BACKEND if name in real_servers else {})})
        return self

    def label(self, name: str, labels: dict[str, str], weight: int | None = None) -> None:
        """Replaces a node's labels and its weight annotation."""
        annotations = {} if weight is None else {WEIGHT: str(weight)}
        if (self.labels.get(name), self.annotations.get(name, {})) != (labels, annotations):
            self.labels[name], self.annotations[name] = labels, annotations
            self._write_node(name)

    def remove_node(self, name: str) -> None:
        """Takes a node out of the cluster for good, with what it has reported: its addresses would be refused as VIPs later."""
        self.label(name, {})
        self.assigned.remove(name)
        self.site.discard(name)
        self._forget_nodes(name)

    def set_weight(self, name: str, weight: int) -> None:
        self.label(name, self.labels[name], weight)

    # Agents -----------------------------------------------------------------------------------------

    def start(self, *names: str, wait: bool = True, **options) -> list[Agent]:
        """Starts the agents that do not run yet, on all nodes that have a role or on `names`."""
        agents = []
        for name in names or self.assigned:
            node = self.site.node(name)
            if node.agent is None or not node.agent.running():
                self._prepare(name)
                node.start_agent(self.source, **options)
            agents.append(node.agent)
        for agent in agents if wait else ():
            agent.wait_ready()
        return agents

    def stop(self, *names: str, kill: bool = False) -> None:
        """Ends the agents of all nodes (or of `names`)."""
        for node in [self.lab[n] for n in names] or self.site.running():
            if node.powered and node.agent is not None and node.agent.running():
                status = node.agent.kill() if kill else node.agent.stop()
                assert kill or status == 0, f"{node.name}: the agent ended with {status} on SIGTERM"

    # VirtualServices --------------------------------------------------------------------------------

    def apply(self, *services: dict) -> None:
        for service in services:
            self.services[service["metadata"]["name"]] = service
            self._write_service(service)

    def delete(self, *names: str) -> None:
        """Deletes VirtualServices, all if none is named."""
        for name in names or list(self.services):
            del self.services[name]
            self._remove_service(name)

    def serve(self, service: dict | None = None, timeout: float = 15, **spec) -> dict:
        """Starts all agents, applies a VirtualService and waits until the director serves every real server."""
        service = service or virtual_service(**spec)
        self.start()
        self.apply(service)
        self.wait_serving(service, timeout=timeout)
        return service

    def director(self) -> Node:
        names = [name for name, labels in self.labels.items() if labels.items() >= DIRECTOR.items()]
        assert len(names) == 1, f"one director is meant, not {names}"
        return self.lab[names[0]]

    def real_servers(self) -> list[str]:
        return [name for name, labels in self.labels.items() if labels.items() >= BACKEND.items()]

    def weights(self, service: dict, port: int | None = None) -> dict[str, int]:
        """Weight by node name, from ipvsadm on the director; by address where it is no node's."""
        names = {self.site.address(name): name for name in self.lab.nodes}
        found = judges.weights(self.director(), key_of(service, port))
        return {names.get(address, address): weight for address, weight in found.items()}

    def wait_weights(self, service: dict, expected: dict[str, int], timeout: float = 15) -> None:
        def reached() -> bool:
            seen = self.weights(service)
            assert seen == expected, f"{seen}"
            return True

        wait_until(reached, f"the weights {expected} of {key_of(service)}", timeout)

    def holds(self, service: dict, node: Node | None = None) -> bool:
        """Whether a node (default: the director) has the VIP on a NIC."""
        return judges.devices_with(node or self.director(), vip_of(service)) not in ([], ["lo"])

    def wait_serving(self, service: dict, real_servers: list[str] | None = None, timeout: float = 15) -> None:
        """Waits until the director has the VIP on its NIC, and every real server (or those named) as a destination with its weight."""
        names = self.real_servers() if real_servers is None else real_servers
        default = service["spec"]["realServers"].get("weight", 1)
        self.wait_weights(service, {n: int(self.annotations[n].get(WEIGHT, default)) for n in names}, timeout)
        wait_until(lambda: self.holds(service), f"{vip_of(service)} on the NIC of the director", timeout)

    # End --------------------------------------------------------------------------------------------

    def wait_untouched(self, timeout: float = 20) -> None:
        """Waits until `ip addr`, `ip route`, `ipvsadm -Sn` and sysctls of all nodes are, to the byte, what they were."""
        def clean() -> bool:
            for name in self.assigned:
                # One node after the other: looking at all of them at once would keep them busy.
                assert not (seen := self.site.differences(name)), f"\n{seen}"
            return True

        wait_until(clean, "every node to be as it was before", timeout)

    def reset(self) -> None:
        """After every scenario: deletes its objects and checks that nothing of them is left on any node."""
        self.delete()
        try:
            if assigned := [name for name in self.assigned if self.lab[name].powered]:
                self.start(*assigned)
            self.wait_untouched()
        except Exception as reason:
            state = describe(self.lab)
            self.site.discard(*[node.name for node in self.site.running()])
            self._forget_nodes()
            raise AssertionError(f"after the scenario: {reason}\n{state}") from None

    def retire(self) -> None:
        """Ends the agents, so that the other fleet can use the nodes."""
        self.stop()


class Cluster(Fleet):
    """Agents read from the API server; the controller runs."""

    source = "kubernetes"

    def __init__(self, site: Site):
        super().__init__(site)
        self._seen_labels: set[str] = set()
        self.api = self.lab.start_api()
        self.crds = self.host.sh([self.lab.directway(), "crd"])
        self.api.kubectl("apply --server-side -f -", self.crds)
        self.api.wait_established()
        self.lab.start_controller()

    def _write_node(self, name: str) -> None:
        path = f"/api/v1/nodes/{name}"
        roles = {key: self.labels[name].get(key) for key in {*DIRECTOR, *BACKEND, *self.labels[name], *self._seen_labels}}
        self._seen_labels |= set(roles)
        metadata = {"labels": roles, "annotations": {WEIGHT: None, **self.annotations[name]}}
        try:
            self.api.request("PATCH", path, {"metadata": metadata}, MERGE)
        except ApiError as reason:
            if reason.status != 404:
                raise
            self.api.register(name, self.site.address(name))
            self.api.request("PATCH", path, {"metadata": metadata}, MERGE)

    def _write_service(self, service: dict) -> None:
        self.api.apply(service)

    def _remove_service(self, name: str) -> None:
        try:
            self.api.raw("DELETE", f"{SERVICES}/{name}")
        except ApiError as reason:
            if reason.status != 404:
                raise

    def _forget_nodes(self, *names: str) -> None:
        self.api.kubectl(f"delete nodestates,nodes --ignore-not-found {' '.join(names) or '--all'}")
        for name in names or list(self.labels):
            del self.labels[name], self.annotations[name]

    def get(self, name: str = "web") -> dict:
        return self.api.get(f"{SERVICES}/{name}")

    def wait_condition(self, kind: str, status: str, reason: str | None = None, name: str = "web", timeout: float = 15) -> str:
        """Waits for a condition that has observed the present generation; returns its message."""
        def reached() -> dict:
            service = self.get(name)
            one = condition(service, kind)
            assert service["status"]["observedGeneration"] == service["metadata"]["generation"], f"{service['status']}"
            assert one["status"] == status and reason in (None, one["reason"]), f"{one}"
            return one

        return wait_until(reached, f"{name}: {kind}={status} {reason or ''}", timeout)["message"]


class Hosts(Fleet):
    """Agents read from a directory on every node; the fleet keeps the directories equal, as configuration management would."""

    source = "dir"

    def _everywhere(self) -> list[Node]:
        return [self.lab[name] for name in self.labels if self.lab[name].powered]

    def _write_node(self, name: str) -> None:
        nodes = [
            node_manifest(n, self.site.address(n), labels, self.annotations[n]) for n, labels in self.labels.items()
        ]
        for node in self._everywhere():
            node.put_manifest("nodes.yaml", manifest(*nodes))

    def _prepare(self, name: str) -> None:
        self._write_node(name)
        for service in self.services.values():
            self.lab[name].put_manifest(f"{service['metadata']['name']}.yaml", manifest(service))

    def _write_service(self, service: dict) -> None:
        for node in self._everywhere():
            node.put_manifest(f"{service['metadata']['name']}.yaml", manifest(service))

    def _remove_service(self, name: str) -> None:
        for node in self._everywhere():
            node.remove_manifest(f"{name}.yaml")
