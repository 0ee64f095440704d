"""A user's steps on a cluster: label, install, serve, test, upgrade, uninstall, and no trace is left."""

import json
from pathlib import Path

import pytest
from ground import clients, judges
from ground.capture import Capture
from ground.objects import virtual_service
from ground.wait import wait_until

CHART = Path(__file__).resolve().parents[2] / "charts" / "directway"
NAMESPACE = "directway-system"
AGENTS = f"--namespace {NAMESPACE} daemonset/directway-agent"


@pytest.fixture(scope="module")
def installed(cluster):
    """One director, two real servers with the application, the chart with its defaults; undone at the end."""
    before = {name: judges.snapshot(node) for name, node in cluster.nodes.items()}
    director, *real_servers = cluster.workers
    cluster.kubectl(f"label node {director} directway.dev/director=true")
    cluster.kubectl(f"label node {' '.join(real_servers)} directway.dev/backend=true")
    cluster.kubectl("apply -f -", (Path(__file__).parent / "web.yaml").read_text())
    cluster.kubectl("rollout status daemonset/web --timeout=120s")
    cluster.helm(f"install directway {CHART} --namespace {NAMESPACE} --create-namespace --wait --timeout 120s")
    yield cluster, director, real_servers, before


@pytest.fixture(scope="module")
def serving(installed):
    cluster, director, real_servers, _ = installed
    cluster.kubectl("apply -f -", json.dumps(virtual_service("web", cluster.vip)))
    cluster.kubectl("wait --for=condition=Ready dvs/web --timeout=30s")
    return cluster, director, real_servers


def test_agents_run_on_labelled_nodes_only(installed):
    cluster, director, real_servers, _ = installed
    selector = "app.kubernetes.io/component=agent"
    pods = json.loads(cluster.kubectl(f"get pods --namespace {NAMESPACE} --selector {selector} -o json"))["items"]
    assert sorted(pod["spec"]["nodeName"] for pod in pods) == sorted([director, *real_servers])


def test_requests_are_spread(serving):
    cluster, _, real_servers = serving
    outcome = clients.requests(cluster.client, cluster.vip, n=100)
    assert outcome.errors == [] and outcome.counts == dict.fromkeys(real_servers, 50), outcome


def test_only_the_director_answers_arp(serving):
    cluster, director, _ = serving
    answers = judges.arping(cluster.client, cluster.vip, cluster.device, count=10)
    assert answers == {judges.mac(cluster.nodes[director], "eth0"): 10}


def test_replies_bypass_the_director(serving):
    cluster, director, _ = serving
    with Capture(cluster.nodes[director], "eth0", f"tcp and host {cluster.vip}") as capture:
        assert clients.requests(cluster.client, cluster.vip, n=10).errors == []
    frames = capture.stop()
    assert sum(frame.dst == cluster.vip for frame in frames) > 20
    # The director's health checks are answered without payload.
    assert [frame for frame in frames if frame.src == cluster.vip and frame.payload] == []


def test_a_rolling_update_of_the_agents_loses_nothing(serving):
    cluster, _, _ = serving
    load = clients.load(cluster.client, cluster.vip, interval=0.01)
    cluster.kubectl(f"rollout restart {AGENTS}")
    cluster.kubectl(f"rollout status {AGENTS} --timeout=180s")
    outcome = load.stop()
    assert len(outcome.answers) > 500 and outcome.errors == [], outcome


def test_a_node_without_labels_is_undone(serving):
    """The DaemonSet deletes its agent's pod when the label goes."""
    cluster, _, real_servers = serving
    gone = cluster.nodes[real_servers[0]]
    cluster.kubectl(f"label node {real_servers[0]} directway.dev/backend-")
    wait_until(lambda: judges.devices_with(gone, cluster.vip) == [], f"{real_servers[0]} to lose the VIP", 60)
    assert clients.requests(cluster.client, cluster.vip, n=10).counts == {real_servers[1]: 10}
    cluster.kubectl(f"label node {real_servers[0]} directway.dev/backend=true")
    cluster.kubectl(f"rollout status {AGENTS} --timeout=60s")
    cluster.kubectl("rollout status daemonset/web --timeout=60s")
    wait_until(lambda: len(clients.requests(cluster.client, cluster.vip, n=10).counts) == 2, "both to serve again", 60)


def test_helm_test_says_what_it_can_show(serving):
    """Every worker has the VIP, and the control plane admits no ordinary pod, so the test can prove nothing and must report that."""
    cluster, _, _ = serving
    told = cluster.helm(f"test directway --namespace {NAMESPACE} --logs")
    assert "SKIP" in told and "carries the VIP itself" in told or "holds the VIP itself" in told, told


def test_uninstalling_leaves_no_trace(installed):
    """The VirtualService still exists: the agents undo their nodes because of the request."""
    cluster, director, real_servers, before = installed
    cluster.helm(f"uninstall directway --namespace {NAMESPACE} --wait")
    for name, node in cluster.nodes.items():
        assert judges.difference(before[name], judges.snapshot(node)) == "", name
    assert "web" in cluster.kubectl("get dvs --all-namespaces -o name")
