"""The API server of the ground: kubectl from the lab, nodes through their forwarders, service accounts."""

import json

import pytest
from ground import Lab, assets, audit
from ground.place import CommandFailed
from ground.wait import wait_until


@pytest.fixture(scope="module")
def api_lab():
    with Lab() as lab:
        lab.node("d")
        lab.start_api()
        lab.boot()
        yield lab


def kubectl_on(node, command, timeout=20):
    config = node.kubeconfig()
    return node.sh(f"{assets.tool('kubectl', 'api')} --kubeconfig {config} --request-timeout=5s {command}", timeout)


def test_kubectl_from_the_lab(api_lab):
    api_lab.api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}})
    assert api_lab.kubectl("get configmap a -o jsonpath={.metadata.name}") == "a"
    api_lab.kubectl("delete configmap a")


def test_a_node_through_its_forwarder(api_lab):
    node = api_lab["d"]
    api_lab.api.register("d", node.ip, {"directway.dev/director": "true"})
    assert json.loads(kubectl_on(node, "get node d -o json"))["metadata"]["labels"]["directway.dev/director"] == "true"
    forwarder = api_lab.forwarder(node)
    assert forwarder.connections > 0
    forwarder.cut()
    try:
        with pytest.raises(CommandFailed):
            kubectl_on(node, "get node d")
    finally:
        forwarder.heal()
    assert "d" in kubectl_on(node, "get node d")


def test_a_stalled_forwarder(api_lab):
    forwarder = api_lab.forwarder(api_lab["d"])
    forwarder.stall()
    try:
        with pytest.raises(CommandFailed):
            kubectl_on(api_lab["d"], "get nodes --request-timeout=1s")
    finally:
        forwarder.heal()


def test_a_service_account_has_its_own_rights(api_lab):
    api_lab.api.register("d", api_lab["d"].ip)
    api_lab.kubectl("create serviceaccount reader")
    config = api_lab.dir / "reader.conf"
    config.write_text(api_lab.api.kubeconfig(api_lab.api.url, "default/reader", node="d"))
    who = json.loads(api_lab.kubectl(f"--kubeconfig {config} auth whoami -o json"))["status"]["userInfo"]
    assert who["username"] == "system:serviceaccount:default:reader"
    assert who["extra"]["authentication.kubernetes.io/node-name"] == ["d"]
    with pytest.raises(CommandFailed, match="forbidden"):
        api_lab.kubectl(f"--kubeconfig {config} get nodes")


def test_it_comes_back_with_its_data(api_lab):
    api_lab.kubectl("create configmap kept")
    api_lab.api.stop()
    with pytest.raises(OSError):
        api_lab.api.get("/readyz")
    api_lab.api.start()
    api_lab.api.wait_ready()
    wait_until(lambda: api_lab.kubectl("get configmap kept -o name") == "configmap/kept\n", "the object")


ASKING = "while :; do curl -sk -o /dev/null -H 'Authorization: Bearer {token}' {url}/api/v1/nodes?limit=1; sleep 0.005; done"


def test_what_a_starting_server_refuses_does_not_count_as_denied(api_lab):
    """The server answers before it has read roles and bindings; only a refusal after that counts."""
    api = api_lab.api
    api_lab.kubectl("create serviceaccount asking")
    api_lab.kubectl("create clusterrole asking --verb=list --resource=nodes")
    api_lab.kubectl("create clusterrolebinding asking --clusterrole=asking --serviceaccount=default:asking")
    may = "auth can-i list nodes --as=system:serviceaccount:default:asking"
    wait_until(lambda: api_lab.kubectl(may) == "yes\n", "the right to be there")
    process = api_lab.host.spawn(ASKING.format(token=api.mint("default/asking"), url=api.url), "asking.log")
    denied = lambda: audit.denied(audit.asked(api, "default/asking"), api.starting)  # noqa: E731
    answered = lambda: len(api.audit("default/asking"))  # noqa: E731
    try:
        wait_until(lambda: answered() > 10, "the account to ask")
        api.stop()
        api.start()
        api.wait_ready()
        before = answered()
        wait_until(lambda: answered() > before + 10, "the account to ask again")
        assert denied() == []
        api_lab.kubectl("delete clusterrolebinding asking")
        wait_until(denied, "refusals that count")
    finally:
        process.kill()
