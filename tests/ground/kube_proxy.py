"""kube-proxy as a process on a node, in one of its modes."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from . import assets
from .node import NodeProcess
from .wait import wait_until

if TYPE_CHECKING:
    from .apiserver import ApiServer
    from .node import Node

POD_NETWORK = "10.244.0.0/16"
METRICS = "127.0.0.1:10249"
ACCOUNT = "kube-system/kube-proxy"
CONFIG = "/run/kube-proxy.json"
TOOLS = "/run/kube-proxy"  # first in kube-proxy's PATH
# The packaged user-mode-linux kernel has no NAT for nftables, which is what Debian's `iptables` speaks.
LEGACY = "for v in '' 6; do for p in '' -save -restore; do ln -s /usr/sbin/ip${v}tables-legacy$p ip${v}tables$p; done; done"
# Without iptables, because kube-proxy in an emulated machine takes half a minute to remove iptables rules that do not exist.
NFTABLES = "ln -s /usr/sbin/nft /usr/sbin/modprobe /usr/sbin/conntrack ."


def config(mode: str, **ipvs) -> dict:
    """kube-proxy's configuration, as in kubeadm's ConfigMap; `ipvs` are settings of that mode."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "mode": mode, "clusterCIDR": POD_NETWORK, "healthzBindAddress": "127.0.0.1:10256", "metricsBindAddress": METRICS,
        "ipvs": ipvs,
        # These sysctls stay as they are: a node's connection table is small, and some of them are not writable.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def assign_roles(api: "ApiServer") -> None:
    """Creates kube-proxy's service account, with the role that every cluster has for it."""
    namespace, name = ACCOUNT.split("/")
    subject = {"kind": "ServiceAccount", "namespace": namespace, "name": name}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:node-proxier"}
    api.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": namespace, "name": name}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
         "roleRef": role, "subjects": [subject]},
    )


def start(node: "Node", settings: dict) -> NodeProcess:
    """Starts kube-proxy; returns when it has written its rules for the first time."""
    assign_roles(node.lab.api)
    client = {"kubeconfig": node.kubeconfig(ACCOUNT)}
    node.write(CONFIG, json.dumps({**settings, "hostnameOverride": node.name, "clientConnection": client}))
    nftables = settings["mode"] == "nftables"
    node.sh(f"rm -rf {TOOLS}; mkdir -p {TOOLS}; cd {TOOLS}; " + (NFTABLES if nftables else LEGACY))
    path = {"PATH": TOOLS if nftables else f"{TOOLS}:/usr/sbin:/usr/bin:/sbin:/bin"}
    process = node.spawn([assets.tool("kube-proxy", "cluster"), "--config", CONFIG, "-v", "2"], "kube-proxy.log", path)

    def synced() -> bool:
        if not process.running():
            raise RuntimeError(f"{node.name}: kube-proxy ended:\n{process.text()[-3000:]}")
        return syncs(node) > 0

    wait_until(synced, f"the first sync of kube-proxy on {node.name}", 30)
    return process


def syncs(node: "Node") -> int:
    """How often the running kube-proxy has written its rules for IPv4."""
    count = r'^kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv4"} (\d+)$'
    found = re.search(count, node.http(METRICS, "/metrics"), re.MULTILINE)
    return int(found[1]) if found else 0
