"""The chart, rendered or installed with Helm, and its pods as processes of this machine."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import yaml
from ground import assets
from ground.helm import helm, helm_ok

if TYPE_CHECKING:
    from ground import Lab
    from ground.netns import Namespace, NativeProcess

CHART = assets.ROOT / "charts" / "directway"
NAMESPACE = "directway-system"
SECRETS = "/run/secrets/kubernetes.io/serviceaccount"
# Changes as many values as possible from their defaults.
VARIANTS = {
    "defaults": {},
    "metrics": {"metrics": {"enabled": True}},
    "full": {
        "fullnameOverride": "lvs", "image": {"repository": "registry.example/directway", "digest": f"sha256:{'a' * 64}"},
        "imagePullSecrets": [{"name": "registry"}], "log": {"level": "directway=debug,kube=warn", "format": "json"},
        "apiServer": {"host": "192.0.2.1", "port": 443}, "metrics": {"enabled": True, "bindAddress": "[::]"},
        "crds": {"keep": False},
        "agent": {
            "nodeSelector": {"pool": "edge"}, "nodeExpressions": [{"key": "zone", "operator": "NotIn", "values": ["far"]}],
            "intervals": {"maxSeconds": 5, "minMilliseconds": 200}, "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute"}],
            "priorityClassName": "", "updateStrategy": {"type": "OnDelete", "rollingUpdate": None},
            "podAnnotations": {"a": "b"}, "podLabels": {"c": "d"}, "extraArgs": ["--an-option"],
            "extraEnv": [{"name": "RUST_BACKTRACE", "value": "1"}],
            "serviceAccount": {"name": "agents", "annotations": {"e": "f"}},
        },
        "controller": {
            "replicas": 1, "nodeSelector": {"pool": "infra"}, "tolerations": [{"operator": "Exists"}],
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "g", "operator": "Exists"}]}]}}},
            "podAnnotations": {"a": "b"}, "podLabels": {"c": "d"}, "extraEnv": [{"name": "RUST_BACKTRACE", "value": "1"}],
            "serviceAccount": {"name": "controllers"},
        },
    },
    "bare": {
        "crds": {"install": False}, "rbac": {"create": False}, "admissionPolicy": {"enabled": False},
        "controller": {"replicas": 0},
    },
}


def rendered(values: dict | None = None, options: str = "") -> str:
    return helm_ok(f"template directway {CHART} --namespace {NAMESPACE} --kube-version 1.36.0 {options}", values or {})


def objects(text: str) -> dict[tuple[str, str], dict]:
    """Objects of a stream of YAML by (kind, name); two of the same are an error."""
    found: dict[tuple[str, str], dict] = {}
    for thing in filter(None, yaml.safe_load_all(text)):
        key = thing["kind"], thing["metadata"]["name"]
        assert key not in found, f"{key} is there twice"
        found[key] = thing
    return found


def pod_of(text: str, kind: str) -> dict:
    """The pod spec of the one DaemonSet or Deployment."""
    (found,) = [thing for (its, _), thing in objects(text).items() if its == kind]
    return found["spec"]["template"]["spec"]


def start_pod(lab: "Lab", place: "Namespace", pod: dict, name: str, node: str, log: str) -> "NativeProcess":
    """Runs a pod's only container as a process in `place`, as far as possible as a kubelet on `node` would.

    Arguments, environment, user, capabilities, read-only root and no_new_privs come from the spec; the token is where
    a client library looks for it and is bound to the node; hostPath volumes are directories of the lab.
    """
    (container,) = pod["containers"]
    security = {**pod["securityContext"], **container["securityContext"]}
    fields = {"spec.nodeName": node, "metadata.name": name, "metadata.namespace": NAMESPACE}
    # As in an empty image: there is no home, so no user's kubeconfig is found.
    env = {"HOME": "/", "KUBERNETES_SERVICE_HOST": lab.api.address, "KUBERNETES_SERVICE_PORT": str(lab.api.port)}
    for variable in container["env"]:
        source = variable.get("valueFrom")
        env[variable["name"]] = fields[source["fieldRef"]["fieldPath"]] if source else variable["value"]
    home = lab.dir / name
    home.mkdir(exist_ok=True)
    (home / "token").write_text(lab.api.mint(f"{NAMESPACE}/{pod['serviceAccountName']}", node))
    (home / "ca.crt").write_bytes((lab.api.dir / "ca.crt").read_bytes())
    script = [
        "set -eu", "mount -t tmpfs -o mode=755 none /run", f"mkdir -p {SECRETS}",
        f"cp {home}/token {home}/ca.crt {SECRETS}", f"printf {NAMESPACE} > {SECRETS}/namespace",
        f"chown -R {security['runAsUser']} {SECRETS}",
        # A copy, because the program may be in a directory that only this user can read.
        f"cp {assets.directway()} /run/program", "chmod 755 /run/program",
    ]
    volumes = {volume["name"]: volume["hostPath"]["path"] for volume in pod.get("volumes", [])}
    for mount in container.get("volumeMounts", []):
        # One directory per node, so that the next pod there finds the files of this one.
        source = lab.dir / f"host-{node}{volumes[mount['name']].replace('/', '-')}"
        source.mkdir(exist_ok=True)
        script += [f"mkdir -p {mount['mountPath']}", f"mount --bind {source} {mount['mountPath']}"]
    if security["readOnlyRootFilesystem"]:
        script += ["mount -o remount,ro,bind /", "mount -o remount,ro,bind /run"]
    added = "".join(f",+{capability.lower()}" for capability in security["capabilities"].get("add", []))
    user = f"--reuid {security['runAsUser']} --regid {security['runAsGroup']} --clear-groups"
    drop = f"--bounding-set=-all{added} --inh-caps=-all"
    assert security["capabilities"]["drop"] == ["ALL"] and security["allowPrivilegeEscalation"] is False
    variables = shlex.join(f"{key}={value}" for key, value in env.items())
    program = f"/run/program {shlex.join(container['args'])}"
    script += [f"exec env -i {variables} setpriv {user} {drop} --no-new-privs {program}"]
    return place.spawn(["unshare", "--mount", "sh", "-c", "\n".join(script)], log)


