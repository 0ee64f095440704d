"""The controller on a real API server: statuses from reports, Events, leadership, and outages."""

import json

import pytest
from ground.apiserver import ApiError
from ground.wait import wait_until
from kinds import define_kinds
from manifests import from_table

RESOURCES = "/apis/directway.dev/v1alpha1/namespaces/default/virtualservices"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/default/leases/directway-controller"
VIP = "10.9.0.100"


@pytest.fixture(scope="module")
def api(lab):
    define_kinds(lab)
    lab.api.register("d", "10.9.0.1", {"directway.dev/director": "true"})
    lab.api.register("r1", "10.9.0.11", {"directway.dev/backend": "true"})
    lab.api.register("r2", "10.9.0.12", {"directway.dev/backend": ""})
    return lab.api


@pytest.fixture
def controllers(lab):
    """Starts controllers; ends those that still run."""
    running = []

    def start(identity="one", port=8191):
        process = lab.start_controller("--identity", identity, "--lease-namespace", "default", "--admin-address", f"127.0.0.1:{port}")
        running.append(process)
        return process

    yield start
    for process in running:
        if process.running():
            process.stop()  # a released lease lets the next test's controller lead at once


def condition(api, name, kind):
    conditions = api.get(f"{RESOURCES}/{name}").get("status", {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == kind), {})


def has(api, name, kind, status, reason):
    found = condition(api, name, kind)
    return (found.get("status"), found.get("reason")) == (status, reason)


def becomes(api, name, kind, status, reason):
    wait_until(lambda: has(api, name, kind, status, reason), f"{name}: {kind}={status} {reason}", 15)


def digest(objects):
    """The digest that an agent which has seen these objects reports: a second implementation of src/api/observed_generations.rs."""
    mask = (1 << 64) - 1

    def mix(data):
        value = 0xCBF29CE484222325
        for byte in data:
            value = ((value ^ byte) * 0x100000001B3) & mask
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            value = ((value ^ (value >> 33)) * factor) & mask
        return value ^ (value >> 33)

    count = 8
    while count < 2 * len(objects):
        count *= 2
    buckets = [0] * min(count, 512)
    for thing in objects:
        uid, generation = thing["metadata"]["uid"].encode(), thing["metadata"]["generation"]
        buckets[mix(uid) & (len(buckets) - 1)] ^= mix(uid + generation.to_bytes(8, "little")) >> 32
    return "".join(f"{bucket:08x}" for bucket in buckets)


def report(api, node, **status):
    """Writes a node's report on the present state of all objects, as its agent would."""
    base = {"apiVersion": "directway.dev/v1alpha1", "kind": "NodeState", "metadata": {"name": node}}
    api.request("PATCH", f"/apis/directway.dev/v1alpha1/nodestates/{node}?fieldManager=agent&force=true", base, "application/apply-patch+yaml")
    status = {"agentVersion": "0.1.0", "observed": digest(api.get(RESOURCES)["items"]), **status}
    path = f"/apis/directway.dev/v1alpha1/nodestates/{node}/status?fieldManager=agent&force=true"
    api.request("PATCH", path, {**base, "status": status}, "application/apply-patch+yaml")


def serving(api, ready=("10.9.0.11-10.9.0.12",), **more):
    report(api, "d", held=[VIP], bound=[VIP], directing=[{"vips": [VIP], "ready": list(ready), **more}])


def test_from_apply_to_ready_and_back(api, controllers):
    controllers()
    api.apply(from_table("web", {"vips": [VIP]}))
    becomes(api, "web", "Accepted", "True", "Valid")
    assert has(api, "web", "Ready", "Unknown", "Pending")
    serving(api)
    becomes(api, "web", "Ready", "True", "Serving")
    row = api.kubectl("get dvs web --no-headers").split()
    assert row[:7] == ["web", VIP, "80/TCP", "mh", "d", "2/2", "True"]
    api.kubectl("wait --for=condition=Ready --timeout=5s dvs/web")

    since = condition(api, "web", "Ready")["lastTransitionTime"]
    why = [{"address": "10.9.0.12", "reason": "NotOnSegment", "message": "10.9.0.12 is behind a router"}]
    serving(api, ["10.9.0.11"], unready=why)
    becomes(api, "web", "Ready", "True", "Degraded")
    degraded = condition(api, "web", "Ready")
    assert degraded["lastTransitionTime"] == since, "it is still true"
    assert "1 of 2" in degraded["message"] and "r2 (10.9.0.12): NotOnSegment" in degraded["message"]

    api.kubectl("patch dvs web --type=merge -p '{\"spec\": {\"scheduler\": {\"name\": \"rr\", \"flags\": []}}}'")
    wait_until(lambda: api.get(f"{RESOURCES}/web")["status"]["observedGeneration"] == 2, "the new generation to be seen")
    becomes(api, "web", "Ready", "Unknown", "Pending")
    serving(api)
    becomes(api, "web", "Ready", "True", "Serving")
    api.kubectl("delete dvs web")


def test_of_two_that_claim_the_same_the_older_wins(api, controllers):
    controllers()
    api.apply(from_table("older", {"vips": [VIP]}))
    wait_until(lambda: condition(api, "older", "Accepted"), "a status")
    older = api.get(f"{RESOURCES}/older")["metadata"]["creationTimestamp"]

    def younger():  # timestamps are whole seconds
        api.kubectl("delete dvs a-younger --ignore-not-found")
        api.apply(from_table("a-younger", {"vips": [VIP]}))
        return api.get(f"{RESOURCES}/a-younger")["metadata"]["creationTimestamp"] > older

    wait_until(younger, "a later second")
    becomes(api, "a-younger", "Accepted", "False", "PortClaimed")
    assert "default/older" in condition(api, "a-younger", "Accepted")["message"]
    assert has(api, "older", "Accepted", "True", "Valid")
    api.kubectl("delete dvs older")
    becomes(api, "a-younger", "Accepted", "True", "Valid")
    api.kubectl("delete dvs a-younger")


def test_an_object_that_bypassed_validation_is_refused_and_disturbs_nobody(api, controllers):
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/virtualservices.directway.dev"
    original = api.get(crd)["spec"]["versions"]
    open_schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    lax = [{**original[0], "schema": {"openAPIV3Schema": open_schema}}]
    bad = from_table("bad", {"vips": ["127.0.0.1"]})
    worse = {**from_table("worse", {}), "spec": {"vips": 7}}
    worst = {**from_table("worst", {}), "spec": "?"}
    try:
        api.request("PATCH", crd, {"spec": {"versions": lax}}, "application/merge-patch+json")

        def written():
            try:
                api.apply(bad, worse, worst)
                return True
            except AssertionError:
                return False  # the old schema is in force for a moment

        wait_until(written, "objects of any shape to be accepted", 20)
        api.apply(from_table("good", {"vips": [VIP]}))
        controllers()
        for name, fragment in [("bad", "127.0.0.1"), ("worse", "spec.vips: 7 is not a list"), ("worst", '"?" is not an object')]:
            becomes(api, name, "Accepted", "False", "InvalidSpec")
            assert fragment in condition(api, name, "Accepted")["message"]
        becomes(api, "good", "Accepted", "True", "Valid")
    finally:
        api.kubectl("delete dvs bad worse worst good --ignore-not-found")
        api.request("PATCH", crd, {"spec": {"versions": original}}, "application/merge-patch+json")


def test_a_garbled_report_is_named_and_stops_nobody(api, controllers):
    controllers()
    api.apply(from_table("web", {"vips": [VIP]}))
    report(api, "d", bound=["everything"])
    wait_until(lambda: "status.bound" in condition(api, "web", "Ready").get("message", ""), "the message")
    serving(api)
    becomes(api, "web", "Ready", "True", "Serving")
    api.kubectl("delete dvs web")


def events(api, name):
    items = api.get("/apis/events.k8s.io/v1/namespaces/default/events")["items"]
    return [(e["type"], e["reason"], e["action"]) for e in items if e["regarding"].get("name") == name]


def test_events_tell_transitions_and_a_restart_is_none(api, controllers):
    first = controllers()
    api.apply(from_table("told", {"vips": [VIP]}))
    serving(api)
    becomes(api, "told", "Ready", "True", "Serving")
    wait_until(lambda: ("Normal", "Serving", "Ready") in events(api, "told"), "the event")
    assert ("Normal", "Valid", "Accepted") in events(api, "told")
    before = events(api, "told")
    assert first.stop() == 0
    controllers("two")
    serving(api, [], unready=[{"address": "10.9.0.11", "reason": "Unreachable", "message": "nobody answers"}])
    becomes(api, "told", "Ready", "False", "Unreachable")
    wait_until(lambda: ("Warning", "Unreachable", "Ready") in events(api, "told"), "the event")
    assert sorted(events(api, "told")) == sorted([*before, ("Warning", "Unreachable", "Ready")])
    api.kubectl("delete dvs told")


def version(api, name):
    return api.get(f"{RESOURCES}/{name}")["metadata"]["resourceVersion"]


def test_nothing_is_written_when_nothing_changes(api, controllers, lab):
    controllers()
    api.apply(from_table("calm", {"vips": [VIP]}))
    serving(api)
    becomes(api, "calm", "Ready", "True", "Serving")
    before = version(api, "calm")
    # Reports without news for this object, and changes of other objects.
    for count in range(3):
        report(api, "d", held=[VIP], bound=[VIP], drift=count, directing=[{"vips": [VIP], "ready": ["10.9.0.11-10.9.0.12"]}])
        api.apply(from_table(f"other-{count}", {"vips": [f"10.9.1.{count + 1}"]}))
        becomes(api, f"other-{count}", "Accepted", "True", "Valid")
    assert version(api, "calm") == before
    api.kubectl("delete dvs --all")


def test_one_leads_and_the_next_takes_over_at_once_after_sigterm(api, controllers):
    first = controllers("first", 8191)
    wait_until(lambda: api.get(LEASE)["spec"]["holderIdentity"] == "first", "the first to lead", 40)
    transitions = api.get(LEASE)["spec"]["leaseTransitions"]
    second = controllers("second", 8192)
    wait_until(lambda: "following" in second.text(), "the second to follow")
    assert first.stop() == 0
    wait_until(lambda: api.get(LEASE)["spec"]["holderIdentity"] == "second", "the second to lead", 5)
    assert api.get(LEASE)["spec"]["leaseTransitions"] == transitions + 1
    api.apply(from_table("after", {"vips": [VIP]}))
    becomes(api, "after", "Accepted", "True", "Valid")
    assert [f["manager"] for f in api.get(f"{RESOURCES}/after")["metadata"]["managedFields"] if f.get("subresource") == "status"] == ["directway-controller"]
    api.kubectl("delete dvs after")


def test_a_leader_that_died_is_followed_only_when_its_lease_has_run_out(api, controllers):
    first = controllers("dead", 8191)
    wait_until(lambda: api.get(LEASE)["spec"]["holderIdentity"] == "dead", "the first to lead", 40)
    second = controllers("heir", 8192)
    wait_until(lambda: "following" in second.text(), "the second to follow")
    first.kill()
    renewed = api.get(LEASE)["spec"]["renewTime"]
    wait_until(lambda: api.get(LEASE)["spec"]["holderIdentity"] == "heir", "the second to lead", 40)
    # Both times are of this machine's clock, so they can be compared.
    assert seconds(api.get(LEASE)["spec"]["acquireTime"]) - seconds(renewed) >= 14.5


def seconds(text):
    from datetime import datetime

    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def test_the_api_server_may_go_and_come_back(api, controllers, lab):
    process = controllers()
    api.apply(from_table("web", {"vips": [VIP]}))
    serving(api)
    becomes(api, "web", "Ready", "True", "Serving")
    api.stop()
    wait_until(lambda: "no longer the leader" in process.text(), "the controller to stop leading", 40)
    api.start()
    api.wait_ready()

    def lists():
        try:
            return api.get(RESOURCES)
        except ApiError as reason:  # its watch cache fills later
            assert reason.status == 429
            return None

    wait_until(lists, "the API server to have read its storage")
    serving(api, ["10.9.0.11"])
    wait_until(lambda: has(api, "web", "Ready", "True", "Degraded"), "the status to follow again", 60)
    assert process.running()
    api.kubectl("delete dvs web")


def admin(lab, path, port=8191):
    return lab.host.call(["curl", "-s", f"http://127.0.0.1:{port}{path}"]).out


def test_the_admin_endpoint_tells_how_it_is(api, controllers, lab):
    controllers()
    wait_until(lambda: admin(lab, "/readyz") == "ok\n", "readiness", 20)
    wait_until(lambda: json.loads(admin(lab, "/state"))["leads"], "leadership", 40)
    metrics = admin(lab, "/metrics")
    assert "directway_controller_leader 1" in metrics and metrics.endswith("# EOF\n")
