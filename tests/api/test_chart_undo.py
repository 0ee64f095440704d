"""helm uninstall: every agent undoes its node first; if one does not, the Job names it and Helm removes nothing. One life, in order."""

import json

import pytest
from chart import CHART, NAMESPACE, helm, helm_ok, objects, rendered
from ground import audit
from ground.apiserver import ApiError
from hooks import Hooks
from release import NODESTATES, TAKEN, Release, addresses

UNINSTALL = f"uninstall directway --namespace {NAMESPACE}"
# A short deadline, because one test waits for it.
VALUES = {"undo": {"timeoutSeconds": 10}}


@pytest.fixture(scope="module")
def release(lab):
    """A director and a real server, whose agent has bound the VIP."""
    release = Release(lab, VALUES)
    release.web()
    for node in ("node-a", "node-b"):
        release.start_agent(node)
    bound(release)
    # The undoing does not wait for nodes that never reported, and prints the last report of the others.
    release.wait(lambda: reported(lab) == {"node-a": [], "node-b": [TAKEN]}, "both to report")
    yield release
    for pod in release.pods.values():
        pod.stop()


@pytest.fixture
def hooks(lab):
    with Hooks(lab, lab.host, "node-a") as hooks:
        yield hooks


def bound(release):
    release.bind(TAKEN)


def reported(lab) -> dict[str, list[str]]:
    """VIPs that each node's agent has reported as bound."""
    return {item["metadata"]["name"]: item.get("status", {}).get("bound", []) for item in lab.api.get(NODESTATES)["items"]}


def undoing(lab, node):
    return lab.api.get(f"{NODESTATES}/{node}")["status"].get("undo")


def there(lab, path) -> bool:
    try:
        lab.api.get(path)
        return True
    except ApiError as reason:
        assert reason.status == 404
        return False


def daemon_set(lab) -> bool:
    return there(lab, f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/directway-agent")


def test_an_agent_that_does_not_answer_stops_the_uninstalling(lab, release, hooks):
    release.pods.pop("agent-node-b").kill()
    done = helm(UNINSTALL, lab=lab)
    told = hooks.logs["directway-undo"]
    assert done.returncode != 0 and "job directway-undo failed" in done.stderr, (done, told)
    assert "node-a: done" in told and "1 of 2 nodes not undone after 10 s" in told, told
    assert "\n  node-b: its agent has not answered; reported last: 1 quiet VIP\n" in told, told
    assert daemon_set(lab)
    assert TAKEN in addresses(release.spaces["node-b"])
    assert undoing(lab, "node-a")["done"] is True


def test_nothing_was_denied_and_the_roles_grant_no_more_than_was_used(lab, release):
    roles = [
        thing for (kind, name), thing in objects(rendered()).items()
        if kind in ("Role", "ClusterRole") and name == "directway-undo"
    ]
    asked = audit.asked(lab.api, f"{NAMESPACE}/directway-undo")
    assert audit.denied(asked) == []
    assert audit.granted(roles) == asked.keys()
    assert audit.denied(audit.asked(lab.api, f"{NAMESPACE}/directway-agent")) == []


def test_the_rights_go_with_the_hook(lab, release):
    for path in ("/apis/rbac.authorization.k8s.io/v1/clusterroles/directway-undo",
                 f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}/roles/directway-undo",
                 f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/directway-undo"):
        assert not there(lab, path), path


def test_an_agent_that_comes_back_follows_the_request(lab, release):
    release.start_agent("node-b")
    release.wait(lambda: TAKEN not in addresses(release.spaces["node-b"]), "node-b to be undone")
    release.wait(lambda: (undoing(lab, "node-b") or {}).get("done"), "node-b to say so")
    assert undoing(lab, "node-b")["request"] == undoing(lab, "node-a")["request"]


def test_a_rollback_has_the_agents_serve_again(lab, release):
    """Helm does not upgrade a release whose uninstalling was stopped, but it rolls back, also to the same revision."""
    helm_ok(f"rollback directway 1 --namespace {NAMESPACE}", lab=lab)
    bound(release)
    release.wait(lambda: undoing(lab, "node-b") is None, "node-b to forget the request")


def test_an_upgrade_has_the_agents_serve_again(lab, release):
    switch = f"/api/v1/namespaces/{NAMESPACE}/configmaps/directway-undo"
    lab.api.request("PATCH", switch, {"data": {"undo": "by hand"}}, "application/merge-patch+json")
    release.wait(lambda: TAKEN not in addresses(release.spaces["node-b"]), "node-b to be undone")
    helm_ok(f"upgrade directway {CHART} --namespace {NAMESPACE}", VALUES, lab)
    bound(release)


def test_an_undone_release_goes_and_the_agents_do_not_begin_again(lab, release, hooks):
    out = helm_ok(UNINSTALL, lab=lab)
    assert "release \"directway\" uninstalled" in out
    told = hooks.logs["directway-undo"]
    assert "done: 2 nodes" in told, told
    assert TAKEN not in addresses(release.spaces["node-b"])
    assert not daemon_set(lab)
    for kind in ("clusterroles", "clusterrolebindings"):
        left = lab.api.get(f"/apis/rbac.authorization.k8s.io/v1/{kind}?labelSelector=app.kubernetes.io/part-of=directway")
        assert left["items"] == []
    # The agents' pods live some seconds longer than the ConfigMap. They still undo when they end.
    state = json.loads(release.spaces["node-b"].sh("curl -s http://127.0.0.1:8090/state"))
    assert state["status"]["undo"]["done"] is True
    for name in ("agent-node-a", "agent-node-b"):
        assert release.pods.pop(name).stop(timeout=30) == 0
    assert TAKEN not in addresses(release.spaces["node-b"])
    # The CRDs and the users' objects stay.
    assert lab.kubectl("get dvs web -o name") == "virtualservice.directway.dev/web\n"


def test_installed_again_it_serves(lab, release):
    """A new installation takes over the CRDs, VirtualServices, and reports that say "undone"."""
    assert undoing(lab, "node-b")["done"] is True
    release.install(VALUES)
    release.start_agent("node-b")
    bound(release)
    release.wait(lambda: undoing(lab, "node-b") is None, "the report to say nothing of an undoing")
