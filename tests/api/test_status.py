"""`directway status` and `failover` against a real API server: whose agents are silent, by the API server's own clock."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from kinds import define_kinds
from manifests import from_table

VIP = "10.9.0.100"
NAMESPACE = "directway-system"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
NODESTATES = "/apis/directway.dev/v1alpha1/nodestates"
DIRECTORS = ["d", "e", "x"]


@pytest.fixture(scope="module")
def api(lab):
    define_kinds(lab)
    lab.kubectl(f"create namespace {NAMESPACE}")
    lab.kubectl("create serviceaccount reader")
    lab.kubectl("create clusterrole reader --verb=list --resource=virtualservices.directway.dev,nodestates.directway.dev,nodes")
    lab.kubectl("create clusterrolebinding reader --clusterrole=reader --serviceaccount=default:reader")
    for number, name in enumerate([*DIRECTORS, "r1"]):
        lab.api.register(name, f"10.9.0.{number + 1}", {f"directway.dev/{'director' if name in DIRECTORS else 'backend'}": "true"})
    lab.api.apply(from_table("web", {"vips": [VIP]}))
    for name in DIRECTORS:
        report(lab.api, name, bound=[VIP], held=[VIP] if name == "d" else [])
        beat(lab.api, name)
    # A backend that claims to hold the VIP.
    report(lab.api, "r1", held=[VIP])
    beat(lab.api, "r1")
    return lab.api


def report(api, node, **status):
    base = {"apiVersion": "directway.dev/v1alpha1", "kind": "NodeState", "metadata": {"name": node}}
    path = f"{NODESTATES}/{node}"
    api.request("PATCH", f"{path}?fieldManager=agent&force=true", base, "application/apply-patch+yaml")
    directing = [] if node == "r1" else [{"vips": [VIP], "ready": ["10.9.0.4"]}]
    status = {"agentVersion": "0.1.0", "observed": "", "directing": directing, **status}
    api.request("PATCH", f"{path}/status?fieldManager=agent&force=true", {**base, "status": status}, "application/apply-patch+yaml")


def beat(api, node):
    """A heartbeat as an agent writes it, but for its clock, which is wrong by years."""
    name = f"directway-agent-{node}"
    spec = {"holderIdentity": node, "leaseDurationSeconds": 60, "renewTime": f"1999-01-01T00:00:00.{datetime.now(UTC):%f}Z"}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec}
    api.request("PATCH", f"{LEASES}/{name}?fieldManager=directway-agent&force=true", lease, "application/apply-patch+yaml")


def fall_silent(api, node, seconds):
    """As if the last heartbeat were older: an admin may write the API server's record, if something else changes as well."""
    path = f"{LEASES}/directway-agent-{node}"
    fields = api.get(path)["metadata"]["managedFields"]
    for entry in fields:
        entry["time"] = f"{datetime.now(UTC) - timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"
    metadata = {"managedFields": fields, "annotations": {"changed": f"{datetime.now(UTC):%f}"}}
    api.request("PATCH", path, {"metadata": metadata}, "application/merge-patch+json")


def directway(lab, *words, account=None):
    path = lab.dir / "reader.conf"
    path.write_text(lab.api.kubeconfig(lab.api.url, account))
    return lab.host.sh([lab.directway(), *words, "--kubeconfig", str(path)])


def status(lab, *words, account=None):
    document = json.loads(directway(lab, "status", "-o", "json", *words, account=account))
    return document, document["virtualServices"][0], {line["name"]: line for line in document["nodes"]}


def test_a_heartbeat_counts_by_the_api_servers_clock_whatever_the_agents_clock_says(lab, api):
    document, web, nodes = status(lab)
    assert web["standbys"] == DIRECTORS and document["notes"] == []
    assert all("silentSeconds" not in line for line in nodes.values())
    fall_silent(api, "x", 300)
    document, web, nodes = status(lab)
    assert web["standbys"] == ["d", "e"]
    assert [(one["director"], one["reason"]) for one in web["notStandingBy"]] == [("x", "ReportStale")]
    assert 300 <= nodes["x"]["silentSeconds"] < 360
    # Labels are no heartbeat; a renewal is.
    api.kubectl(f"label lease directway-agent-x --namespace {NAMESPACE} seen=true")
    assert "silentSeconds" in status(lab)[2]["x"]
    beat(api, "x")
    assert status(lab)[1]["standbys"] == DIRECTORS


def test_a_backend_that_says_it_holds_the_vip_is_not_shown_with_it(lab, api):
    _, _, nodes = status(lab)
    assert nodes["d"]["held"] == [VIP] and nodes["r1"]["held"] == []
    assert "does not count" in nodes["r1"]["problems"][0]


def test_what_may_not_be_read_or_is_elsewhere_is_said(lab, api):
    fall_silent(api, "x", 300)
    document, web, _ = status(lab, account="default/reader")
    assert web["standbys"] == DIRECTORS
    assert "which agents are silent is not known" in document["notes"][0] and "forbidden" in document["notes"][0]
    document, _, _ = status(lab, "--lease-namespace", "default")
    assert "namespace default has no heartbeat" in document["notes"][0]
    beat(api, "x")


def test_a_move_neither_goes_to_a_silent_director_nor_waits_for_a_backends_word(lab, api):
    fall_silent(api, "e", 300)
    with pytest.raises(Exception, match="--to e: it is not ready"):
        directway(lab, "failover", VIP, "--to", "e")
    report(api, "d", bound=[VIP])
    report(api, "x", bound=[VIP], held=[VIP])
    text = directway(lab, "failover", VIP, "--to", "x", "--timeout", "5")
    assert "x → x" in text and "x holds it" in text
