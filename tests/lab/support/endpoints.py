"""The EndpointSlice of a Service, written as the endpoint controller would while pods come and go."""

from __future__ import annotations

from ground.apiserver import ApiError

from .fleet import Cluster

SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
# What the endpoint controller writes while a pod is …
STATES = {
    "starting": {"ready": False, "serving": False, "terminating": False},
    "ready": {"ready": True, "serving": True, "terminating": False},
    "terminating": {"ready": False, "serving": True, "terminating": True},
    "ending": {"ready": False, "serving": False, "terminating": True},
}


class Endpoints:
    """The pods by node: `endpoints.write(r1="ready", r2="starting")`; a node that is not named has none."""

    def __init__(self, cluster: Cluster, service: str = "web", port: int = 80):
        self.cluster, self.service, self.port = cluster, service, port
        self.states: dict[str, str] = {}

    @property
    def _path(self) -> str:
        return f"{SLICES}/{self.service}-1"

    def write(self, addresses: dict[str, str] | None = None, **states: str) -> None:
        """Writes all pods that run now, on the host's network unless `addresses` has a pod's own address by node."""
        self.states = states
        address = lambda name: (addresses or {}).get(name) or self.cluster.site.address(name)
        slice = {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": f"{self.service}-1", "namespace": "default",
                "labels": {"kubernetes.io/service-name": self.service, "endpointslice.kubernetes.io/managed-by": "scenario"},
            },
            "ports": [{"name": "http", "port": self.port, "protocol": "TCP"}],
            "endpoints": [
                {"addresses": [address(name)], "nodeName": name, "conditions": STATES[state]} for name, state in states.items()
            ],
        }
        self.cluster.api.request("PATCH", f"{self._path}?fieldManager=scenario&force=true", slice, "application/apply-patch+yaml")

    def change(self, name: str, state: str | None) -> None:
        """Changes the state of one node's pod; None deletes it."""
        states = {**self.states, name: state}
        self.write(**{node: state for node, state in states.items() if state is not None})

    def delete(self) -> None:
        try:
            self.cluster.api.raw("DELETE", self._path)
        except ApiError as reason:
            if reason.status != 404:
                raise
