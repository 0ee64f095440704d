"""kube-proxy in nftables mode beside directway; user-mode-linux has no NAT for nftables. The other modes are in tests/cluster."""

import pytest
from ground import clients, kube_proxy
from ground.wait import wait_until
from support import VIP
from support.endpoints import Endpoints

SERVICE = {
    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "echo", "namespace": "default"},
    "spec": {"ports": [{"name": "http", "port": 80}]},
}


@pytest.fixture
def proxy(cluster):
    """kube-proxy on the director, and a Service whose endpoint is a real server; `proxy()` starts or restarts it."""
    node = cluster.site.node("d")
    endpoints = Endpoints(cluster, "echo")
    cluster.api.apply(SERVICE)
    endpoints.write(r1="ready")
    running = []

    def start():
        for process in running:
            process.stop()
        running[:] = [kube_proxy.start(node, kube_proxy.config("nftables"))]

    yield start
    endpoints.delete()
    cluster.api.raw("DELETE", "/api/v1/namespaces/default/services/echo")
    cluster.site.discard("d")


@pytest.mark.vm
@pytest.mark.only_on("vm")
def test_kube_proxy_in_nftables_mode(cluster, proxy):
    """Both serve, and neither changes what the other wrote, except for the IPVS table, which kube-proxy empties when it starts."""
    cluster.assign_roles()
    proxy()
    node = cluster.lab["d"]
    rules = lambda: node.sh("nft --stateless list ruleset")
    before = rules()
    assert "table ip kube-proxy" in before
    address = cluster.api.get("/api/v1/namespaces/default/services/echo")["spec"]["clusterIP"]
    service = cluster.serve()
    assert clients.requests(cluster.host, VIP, n=20).counts == {"r1": 10, "r2": 10}
    assert node.sh(f"curl -sS --fail --max-time 5 http://{address}/").strip() == "r1"
    cluster.wait_condition("KubeProxyConflict", "False", "NoConflict")
    assert rules() == before

    proxy()
    cluster.wait_weights(service, {"r1": 1, "r2": 1})
    wait_until(lambda: clients.requests(cluster.host, VIP, n=4).counts == {"r1": 2, "r2": 2}, "the VIP to be served again", 10)
    cluster.delete()
    assert rules() == before
