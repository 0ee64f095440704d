"""The CRDs on a real API server: what it accepts and refuses, with which messages; defaults, columns, descriptions."""

import json

import pytest
from ground import assets
from ground.place import CommandFailed
from ground.wait import wait_until
from kinds import define_kinds
from manifests import TABLE, from_table, text

RESOURCES = "/apis/directway.dev/v1alpha1/namespaces/default/virtualservices"


@pytest.fixture(scope="module")
def api(lab):
    define_kinds(lab)
    return lab.api


def test_the_api_server_finds_nothing_to_complain_about_in_the_definitions(api):
    for crd in api.get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")["items"]:
        conditions = {c["type"]: c for c in crd["status"]["conditions"]}
        assert conditions["Established"]["status"] == "True"
        assert "NonStructuralSchema" not in conditions, conditions["NonStructuralSchema"]["message"]


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: case["name"])
def test_every_case_of_the_table(api, case):
    manifest = text(from_table("case", case["spec"]))
    if "says" not in case:
        assert "serverside-applied" in api.kubectl("apply --server-side --dry-run=server -f -", manifest).replace(" ", "")
        return
    with pytest.raises(CommandFailed) as refused:
        # kubectl's own validation would refuse some first, with other messages.
        api.kubectl("create --dry-run=server --validate=false -f -", manifest)
    for fragment in case["says"]:
        assert fragment in str(refused.value)
    assert "failed rule" not in str(refused.value), "a rule has no message of its own"


# The examples' application.
APPLICATION = {"web-servers.yaml": "daemonset.apps/web-servers"}


@pytest.mark.parametrize("path", sorted((assets.ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_are_accepted(api, path):
    accepted = api.kubectl("create --dry-run=server --validate=strict -o name -f -", path.read_text())
    assert APPLICATION.get(path.name, "virtualservice.directway.dev/web") in accepted.split()


def test_the_words_of_a_refusal(api):
    """One of each kind of message, word for word."""
    for spec, words in [
        ({"vips": ["224.0.0.81"]}, 'spec.vips: "224.0.0.81" is no unicast address: loopback, multicast, link-local, unspecified'
            " and broadcast addresses cannot be used, choose one of the segment"),
        ({"vips": ["10.0.0.1", "10.0.0.2"]}, 'spec.vips: "10.0.0.1" and "10.0.0.2" are of the same family: use one IPv4 and one'
            " IPv6 address, or a second VirtualService"),
        ({"scheduler": {"name": "rr", "flags": ["mh-port"]}}, 'spec.scheduler.flags: "mh-port" does not belong to scheduler rr:'
            " remove it, only mh and sh have flags"),
        ({"realServers": {"vipDevice": "eth0:1"}}, 'spec.realServers.vipDevice: "eth0:1" is not an interface name: use 1 to 15'
            ' ASCII characters without "/", ":" or space, and not "." or ".."'),
        ({"realServers": {"nodeSelector": None}}, "spec.realServers: has no source: set nodeSelector ({} selects every node"
            " labelled directway.dev/backend), name a service, or list hosts under external"),
    ]:
        with pytest.raises(CommandFailed) as refused:
            api.kubectl("create --dry-run=server -f -", text(from_table("words", spec)))
        assert words in str(refused.value)


def test_all_wrong_fields_are_named_at_once(api):
    wrong = {"vips": ["::1"], "scheduler": {"name": "rr", "flags": ["sh-port"]}, "directors": {"interface": "a b"}}
    with pytest.raises(CommandFailed) as refused:
        api.kubectl("create --dry-run=server -f -", text(from_table("wrong", wrong)))
    for field in ("spec.vips", "spec.scheduler.flags", "spec.directors.interface"):
        assert field in str(refused.value)


def test_unknown_fields_are_named_by_kubectl(api):
    with pytest.raises(CommandFailed, match='unknown field "(spec.)?schedular"'):
        api.kubectl("create --dry-run=server -f -", text(from_table("typo", {"schedular": {"name": "rr"}})))


def test_defaults_are_written_into_the_object(api):
    api.apply(from_table("plain", {}))
    spec = api.get(f"{RESOURCES}/plain")["spec"]
    assert spec["scheduler"] == {"name": "mh", "flags": ["mh-port", "mh-fallback"]}
    assert spec["ports"] == [{"port": 80, "protocol": "TCP"}]
    assert spec["directors"] == {} and spec["drainSeconds"] == 60
    assert spec["realServers"] == {
        "nodeSelector": {}, "vipDevice": "lo", "arp": "sysctl", "weight": 1, "hostRoute": False, "cordonPolicy": "Ignore",
    }
    assert spec["healthCheck"] == {
        "directPath": True, "type": "None", "intervalSeconds": 2, "timeoutSeconds": 1, "rise": 2, "fall": 3,
    }
    api.kubectl("delete dvs plain")


def test_the_short_name_and_the_columns(api):
    api.apply(from_table("web", {"scheduler": {"name": "wrr"}}))
    row = api.kubectl("get dvs web --no-headers")
    assert "192.168.188.120" in row and "wrr" in row, "these two are there before any status is"
    status = {
        "observedGeneration": 1, "vips": ["192.168.188.120"], "holders": [{"vip": "192.168.188.120", "node": "node-a"}],
        "directors": {"ready": 1, "total": 2}, "realServers": {"ready": 2, "total": 3},
        "summary": {"ports": "80/TCP,443/TCP", "holders": "node-a", "realServers": "2/3", "directors": "1/2"},
        "conditions": [{"type": "Ready", "status": "True", "reason": "Degraded", "message": "c is down",
                        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}],
    }
    api.request("PATCH", f"{RESOURCES}/web/status", {"status": status}, "application/merge-patch+json")
    header, row = api.kubectl("get dvs web").splitlines()
    assert header.split() == "NAME VIP PORTS SCHEDULER HOLDER REAL SERVERS READY AGE".split()
    assert row.split()[:7] == ["web", "192.168.188.120", "80/TCP,443/TCP", "wrr", "node-a", "2/3", "True"]
    header, row = api.kubectl("get virtualservices -o wide").splitlines()
    assert header.split()[-3:] == ["DIRECTORS", "REASON", "MESSAGE"]
    assert row.endswith("c is down") and " 1/2 " in row and " Degraded " in row
    assert "web" in api.kubectl("get directway")
    api.kubectl("delete dvs web")


def test_a_spec_written_by_the_user_leaves_the_status_alone(api):
    api.apply(from_table("split", {}))
    api.request("PATCH", f"{RESOURCES}/split/status", {"status": {"vips": ["192.168.188.120"]}}, "application/merge-patch+json")
    api.request("PATCH", f"{RESOURCES}/split", {"status": {"vips": ["10.0.0.1"]}}, "application/merge-patch+json")
    assert api.get(f"{RESOURCES}/split")["status"]["vips"] == ["192.168.188.120"]
    api.kubectl("delete dvs split")


@pytest.mark.parametrize("path", ["virtualservice.spec.realServers.external", "virtualservice.status.realServers", "nodestate.status.bound"])
def test_explain_tells_what_a_field_is_for(api, path):
    # The API server publishes the schemas of new kinds a moment after it serves them.
    told = wait_until(lambda: api.kubectl(f"explain {path}"), f"kubectl explain {path}")
    assert "<no description>" not in told.split("FIELDS:")[0]


def test_a_report_of_any_node_is_written_and_listed(api):
    report = {"apiVersion": "directway.dev/v1alpha1", "kind": "NodeState", "metadata": {"name": "node-a"}}
    api.apply(report)
    status = {"agentVersion": "0.1.0", "observed": "00000000" * 8, "roles": ["director", "backend"], "held": ["10.0.0.1-10.0.0.9"],
              "services": 9, "summary": {"roles": "director,backend", "held": 9, "bound": 12, "refused": 1}}
    api.request("PATCH", "/apis/directway.dev/v1alpha1/nodestates/node-a/status", {"status": status}, "application/merge-patch+json")
    row = api.kubectl("get nodestates --no-headers").split()
    assert row[:6] == ["node-a", "director,backend", "9", "12", "9", "1"]
    assert json.loads(api.kubectl("get nodestate node-a -o json"))["status"]["held"] == ["10.0.0.1-10.0.0.9"]
    api.kubectl("delete nodestate node-a")
