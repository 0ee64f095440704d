"""kube-proxy as a process on a node, in one of its modes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from . import assets
from .node import NodeProcess
from .wait import wait_until

if TYPE_CHECKING:
    from .apiserver import ApiServer
    from .node import Node

POD_NETWORK = "10.244.0.0/16"
HEALTH = "127.0.0.1:10256"
ACCOUNT = "kube-system/kube-proxy"
CONFIG = "/run/kube-proxy.json"
# The packaged user-mode-linux kernel has no NAT for nftables, which is what Debian's `iptables` speaks.
LEGACY = "/run/legacy"


def config(mode: str, **ipvs) -> dict:
    """Its configuration, as the ConfigMap kube-system/kube-proxy has it; `ipvs` are settings of that mode."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "mode": mode, "clusterCIDR": POD_NETWORK, "healthzBindAddress": HEALTH, "metricsBindAddress": "127.0.0.1:10249",
        "ipvs": ipvs,
        # Left as they are: a node's connection table is small, and some of these are not writable.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def config_map(settings: dict) -> dict:
    """Where kubeadm puts it."""
    metadata = {"name": "kube-proxy", "namespace": "kube-system"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"config.conf": json.dumps(settings)}}


def enlist(api: "ApiServer") -> None:
    """Its service account, with the role that every cluster has for it."""
    namespace, name = ACCOUNT.split("/")
    subject = {"kind": "ServiceAccount", "namespace": namespace, "name": name}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:node-proxier"}
    api.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": namespace, "name": name}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
         "roleRef": role, "subjects": [subject]},
    )


def start(node: "Node", settings: dict) -> NodeProcess:
    """Returns when it has written its rules for the first time."""
    enlist(node.lab.api)
    client = {"kubeconfig": node.kubeconfig(ACCOUNT)}
    node.write(CONFIG, json.dumps({**settings, "hostnameOverride": node.name, "clientConnection": client}))
    node.sh(f"mkdir -p {LEGACY}; for v in '' 6; do for p in '' -save -restore; do "
            f"ln -sf /usr/sbin/ip${{v}}tables-legacy$p {LEGACY}/ip${{v}}tables$p; done; done")
    process = node.spawn([assets.tool("kube-proxy", "cluster"), "--config", CONFIG, "-v", "2"], "kube-proxy.log", path())

    def healthy() -> bool:
        if not process.running():
            raise RuntimeError(f"{node.name}: kube-proxy ended:\n{process.text()[-3000:]}")
        return node.http(f"http://{HEALTH}/healthz") != ""

    wait_until(healthy, f"kube-proxy on {node.name}", 30)
    return process


def path() -> dict[str, str]:
    return {"PATH": f"{LEGACY}:/usr/sbin:/usr/bin:/sbin:/bin"}
