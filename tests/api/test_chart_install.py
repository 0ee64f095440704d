"""The chart on the real API server: accepted as it is rendered, installed, upgraded, rolled back and uninstalled by Helm."""

import json

import pytest
import yaml
from chart import CHART, NAMESPACE, VARIANTS, helm_ok, objects, rendered
from ground import assets
from ground.apiserver import ApiError
from ground.place import CommandFailed
from hooks import Hooks

CRDS = ("virtualservices.directway.dev", "nodestates.directway.dev")


@pytest.fixture(scope="module", autouse=True)
def namespace(lab):
    lab.kubectl(f"create namespace {NAMESPACE}")


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_api_server_accepts_it(lab, variant):
    text = rendered(VARIANTS[variant])
    names = lab.kubectl("apply --dry-run=server --validate=strict -o name -f -", text).split()
    assert len(names) == len(objects(text))


@pytest.mark.parametrize("kind, enough, too_little", [
    ("DaemonSet", "privileged", "baseline"), ("Deployment", "restricted", None), ("Job", "restricted", None),
    ("Pod", "restricted", None),
])
def test_the_level_of_pod_security_that_each_needs(lab, kind, enough, too_little):
    (thing,) = [thing for (its, _), thing in objects(rendered()).items() if its == kind]
    spec = thing["spec"] if kind == "Pod" else thing["spec"]["template"]["spec"]
    # No API server without a controller manager knows this class.
    spec = {key: value for key, value in spec.items() if key != "priorityClassName"}
    for level in filter(None, (enough, too_little)):
        space = f"pods-{level}"
        lab.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": space, "labels": {"pod-security.kubernetes.io/enforce": level}}})
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": kind.lower(), "namespace": space}, "spec": spec}
        if level == enough:
            lab.kubectl("create --dry-run=server -f -", json.dumps(pod))
        else:
            with pytest.raises(CommandFailed, match="violates PodSecurity"):
                lab.kubectl("create --dry-run=server -f -", json.dumps(pod))


def there(lab, path):
    try:
        return lab.api.get(path)
    except ApiError as reason:
        assert reason.status == 404
        return None


def test_a_life(lab):
    """Install, upgrade, rollback, uninstall; the CRDs and their objects stay."""
    release = f"directway {CHART} --namespace {NAMESPACE}"
    daemon_set = f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/directway-agent"
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"

    notes = helm_ok(f"install {release}", {}, lab)
    assert "kubectl label node NODE directway.dev/director=true" in notes
    assert there(lab, daemon_set)["spec"]["template"]["spec"]["hostNetwork"] is True
    lab.api.wait_established()

    # The API server accepts the manifest in the chart's notes as it is.
    manifest = notes.split("<<EOF\n")[1].split("     EOF")[0]
    lab.kubectl("apply -f -", manifest)

    # An upgrade updates an older CRD, also one that was changed by hand.
    lab.api.request(
        "PATCH", crd + CRDS[0], [{"op": "remove", "path": "/spec/versions/0/additionalPrinterColumns"}],
        "application/json-patch+json",
    )
    helm_ok(f"upgrade {release}", {"log": {"level": "debug"}}, lab)
    assert "--log-level=debug" in json.dumps(there(lab, daemon_set))
    ours = yaml.safe_load((assets.ROOT / "crds" / "directway.dev_virtualservices.yaml").read_text())
    columns = there(lab, crd + CRDS[0])["spec"]["versions"][0]["additionalPrinterColumns"]
    assert columns == ours["spec"]["versions"][0]["additionalPrinterColumns"]

    helm_ok(f"rollback directway 1 --namespace {NAMESPACE}", lab=lab)
    assert "--log-level=info" in json.dumps(there(lab, daemon_set))

    with Hooks(lab, lab.host, "nowhere") as hooks:
        helm_ok(f"uninstall directway --namespace {NAMESPACE}", lab=lab)
    assert "done: 0 nodes" in hooks.logs["directway-undo"]
    assert there(lab, daemon_set) is None
    for kind in ("clusterroles", "clusterrolebindings"):
        left = lab.api.get(f"/apis/rbac.authorization.k8s.io/v1/{kind}?labelSelector=app.kubernetes.io/part-of=directway")
        assert left["items"] == []
    assert there(lab, crd + CRDS[0]) is not None
    assert lab.kubectl("get dvs web -o name") == "virtualservice.directway.dev/web\n"

    # A second installation takes over what is left; with crds.keep=false its removal deletes all of it.
    helm_ok(f"install {release}", {"crds": {"keep": False}}, lab)
    assert lab.kubectl("get dvs web -o name") == "virtualservice.directway.dev/web\n"
    helm_ok(f"uninstall directway --namespace {NAMESPACE} --no-hooks", lab=lab)
    for name in CRDS:
        lab.kubectl(f"wait --for=delete crd/{name} --timeout=20s")
