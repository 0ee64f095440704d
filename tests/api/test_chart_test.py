"""helm test: connects to VIPs from a pod, and reports VIPs for which that proves nothing."""

import pytest
from chart import NAMESPACE, helm, objects, rendered
from ground import audit
from ground.wait import wait_until
from hooks import Hooks
from release import FREE, TAKEN, Release, addresses

TEST = f"test directway --namespace {NAMESPACE}"


@pytest.fixture(scope="module")
def release(lab):
    release = Release(lab)
    yield release
    for pod in release.pods.values():
        pod.stop()


@pytest.fixture(scope="module")
def plain(lab):
    """A node without roles, which the test's pod prefers."""
    lab.api.register("plain", "10.77.0.99")
    return "plain"


@pytest.fixture(scope="module")
def vip(lab):
    """A host that answers at a VIP in place of a director, because this machine's kernel may have no IPVS."""
    server = lab.add_host("server")
    server.sh(f"ip addr add {FREE}/32 dev eth0")
    process = server.spawn(["python3", "-m", "http.server", "--bind", FREE, "80"], "server.log")
    wait_until(lambda: server.ok(f"curl -s http://{FREE}/"), "the server")
    yield FREE
    process.kill()


def run(lab, node) -> tuple[int, str]:
    with Hooks(lab, lab.host, node) as hooks:
        done = helm(TEST, lab=lab)
    return done.returncode, hooks.logs["directway-test"]


def test_without_a_virtual_service_there_is_nothing_to_try(lab, release, plain):
    assert run(lab, plain) == (0, "no VirtualService is served: nothing to connect to\n")


def test_a_vip_that_answers_passes(lab, release, plain, vip):
    release.web("free", vips=[vip], ports=[{"port": 80}, {"port": 53, "protocol": "UDP"}])
    code, told = run(lab, plain)
    assert code == 0, told
    tcp, udp = told.splitlines()
    assert tcp.split()[:3] == ["PASS", f"{vip}:80/TCP", "default/free"] and "10 of 10 connections" in tcp
    assert udp.split()[:2] == ["SKIP", f"{vip}:53/UDP"]


def test_a_vip_that_does_not_answer_fails(lab, release, plain):
    release.web()
    code, told = run(lab, plain)
    assert code != 0
    (line,) = [line for line in told.splitlines() if TAKEN in line]
    assert line.startswith("FAIL") and "10 of 10 connections failed" in line, told
    lab.kubectl("delete dvs web")


def test_where_the_vip_is_bound_the_pod_says_that_it_shows_nothing(lab, release):
    release.start_agent("node-b")
    release.bind(FREE)
    told = ""

    def says_so() -> bool:
        nonlocal told
        code, told = run(lab, "node-b")
        assert code == 0, told
        return "node node-b carries the VIP itself" in told

    wait_until(says_so, "the report to be known", 20)
    assert "SKIP" in told and "PASS" not in told


def test_nothing_was_denied_and_the_role_grants_no_more_than_was_used(lab, release):
    roles = [
        thing for (kind, name), thing in objects(rendered()).items()
        if kind in ("Role", "ClusterRole") and name == "directway-test"
    ]
    asked = audit.asked(lab.api, f"{NAMESPACE}/directway-test")
    assert audit.denied(asked) == []
    assert audit.granted(roles) == asked.keys()


def test_the_rights_go_with_the_test(lab, release):
    left = lab.kubectl("get clusterroles,clusterrolebindings --selector app.kubernetes.io/component=test -o name")
    assert left == ""
