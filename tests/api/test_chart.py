"""The chart as text: what it renders to, and what its schema refuses. Needs Helm only."""

import subprocess
import tomllib

import pytest
import yaml
from chart import CHART, NAMESPACE, VARIANTS, helm, helm_ok, objects, pod_of, rendered
from ground import assets


@pytest.mark.parametrize("variant", VARIANTS)
def test_lint(variant):
    helm_ok(f"lint --strict --quiet {CHART} --kube-version 1.36.0", VARIANTS[variant])


def test_copies_are_current():
    done = subprocess.run([CHART.parent / "update", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_crds_are_rendered_unchanged():
    found = {name: thing for (kind, name), thing in objects(rendered()).items() if kind == "CustomResourceDefinition"}
    for path in (assets.ROOT / "crds").glob("*.yaml"):
        original = yaml.safe_load(path.read_text())
        copy = found.pop(original["metadata"]["name"])
        assert copy["spec"] == original["spec"]
        assert copy["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert not found
    assert "CustomResourceDefinition" not in rendered(VARIANTS["bare"])
    assert "resource-policy" not in rendered(VARIANTS["full"])


def test_versions_are_those_of_the_program():
    version = tomllib.loads((assets.ROOT / "Cargo.toml").read_text())["package"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (version, version)
    assert pod_of(rendered(), "DaemonSet")["containers"][0]["image"] == f"directway:{version}"


def test_the_agent_has_the_privileges_it_needs_and_no_others():
    pod = pod_of(rendered(), "DaemonSet")
    (container,) = pod["containers"]
    assert pod["hostNetwork"] is True
    assert not {"hostPID", "hostIPC", "initContainers", "shareProcessNamespace"} & pod.keys()
    assert pod["securityContext"] == {"runAsUser": 0, "runAsGroup": 0, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
    }
    host_path = {"path": "/run/directway", "type": "DirectoryOrCreate"}
    assert pod["volumes"] == [{"name": "run", "hostPath": host_path}]


def test_settings_of_ipvs_cost_a_writable_directory_and_only_they_do():
    pod = pod_of(rendered({"agent": {"ipvsSettings": {"schedule_icmp": 1, "expire_nodest_conn": 1}}}), "DaemonSet")
    (container,) = pod["containers"]
    assert {"--ipvs-setting=schedule_icmp=1", "--ipvs-setting=expire_nodest_conn=1", "--ipvs-settings-dir=/host/net-ipv4/vs"} \
        <= set(container["args"])
    assert {"name": "net-ipv4", "mountPath": "/host/net-ipv4"} in container["volumeMounts"]
    assert {"name": "net-ipv4", "hostPath": {"path": "/proc/sys/net/ipv4", "type": "Directory"}} in pod["volumes"]
    assert not [arg for arg in pod_of(rendered(), "DaemonSet")["containers"][0]["args"] if "ipvs" in arg]


def test_timeouts_of_ipvs_cost_nothing():
    pod = pod_of(rendered({"agent": {"ipvsSettings": {"tcp_timeout": 2000000}}}), "DaemonSet")
    (container,) = pod["containers"]
    assert [arg for arg in container["args"] if "ipvs" in arg] == ["--ipvs-setting=tcp_timeout=2000000"]
    assert [volume["name"] for volume in pod["volumes"]] == ["run"]


def test_connections_are_exchanged_where_an_interface_is_named():
    args = lambda values: pod_of(rendered(values), "DaemonSet")["containers"][0]["args"]
    assert {"--sync-interface=eth1", "--sync-id=215"} <= set(args({"agent": {"connectionSync": {"interface": "eth1"}}}))
    assert not [arg for arg in args({}) if "sync" in arg]


def test_the_controller_has_no_privileges():
    pod = pod_of(rendered(), "Deployment")
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC", "volumes"} & pod.keys()
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("kind", ["Job", "Pod"])
def test_what_runs_for_a_moment_has_no_privileges(kind):
    for variant in ("defaults", "full"):
        (thing,) = [thing for (its, _), thing in objects(rendered(VARIANTS[variant])).items() if its == kind]
        pod = thing["spec"] if kind == "Pod" else thing["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"] == pod_of(rendered(), "Deployment")["securityContext"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }
        assert pod["restartPolicy"] == "Never" and not {"hostNetwork", "volumes"} & pod.keys()
        if variant == "full":
            assert pod["imagePullSecrets"] == [{"name": "registry"}] and pod["tolerations"] == [{"operator": "Exists"}]
            assert {"name": "KUBERNETES_SERVICE_HOST", "value": "192.0.2.1"} in container["env"]


def hooks(values: dict, event: str) -> set[str]:
    return {
        kind for (kind, _), thing in objects(rendered(values)).items()
        if thing["metadata"].get("annotations", {}).get("helm.sh/hook") == event
    }


def test_rights_to_undo_are_there_while_a_release_is_deleted_and_the_switch_always():
    rights = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
    assert hooks({}, "pre-delete") == {"Job", *rights}
    assert hooks({"rbac": {"create": False}}, "pre-delete") == {"Job", "ServiceAccount"}
    off = {"undo": {"onUninstall": False}}
    assert hooks(off, "pre-delete") == set()
    assert hooks({}, "test") == {"Pod", "ServiceAccount", "ClusterRole", "ClusterRoleBinding"}
    for values in ({}, off):
        switch = objects(rendered(values))["ConfigMap", "directway-undo"]
        assert switch["data"] == {"undo": ""} and "annotations" not in switch["metadata"]
        args = pod_of(rendered(values), "DaemonSet")["containers"][0]["args"]
        assert f"--undo-switch={NAMESPACE}/directway-undo" in args


def test_the_job_outlives_its_program_s_deadline():
    job = objects(rendered({"undo": {"timeoutSeconds": 300}}))["Job", "directway-undo"]["spec"]
    assert "--timeout=300" in job["template"]["spec"]["containers"][0]["args"]
    assert job["activeDeadlineSeconds"] > 300


def test_agents_run_on_labelled_nodes_whatever_their_taints():
    pod = pod_of(rendered(), "DaemonSet")
    terms = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    # Terms are alternatives.
    assert [term["matchExpressions"] for term in terms] == [
        [{"key": f"directway.dev/{role}", "operator": "In", "values": ["true", ""]}] for role in ("director", "backend")
    ]
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["priorityClassName"] == "system-node-critical"


def test_agents_nodes_can_be_narrowed():
    pod = pod_of(rendered(VARIANTS["full"]), "DaemonSet")
    terms = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    more = {"key": "zone", "operator": "NotIn", "values": ["far"]}
    assert [(len(term["matchExpressions"]), term["matchExpressions"][1]) for term in terms] == [(2, more), (2, more)]
    assert pod["nodeSelector"]["pool"] == "edge"


def test_failover_timers_are_arguments_where_they_are_set():
    args = lambda values: pod_of(rendered(values), "DaemonSet")["containers"][0]["args"]
    timers = lambda values: [word for word in args(values) if word.startswith("--failover-timer")]
    assert timers({}) == []
    assert timers({"agent": {"failoverTimers": {"ask": 100, "misses": 5}}}) == ["--failover-timer=ask=100", "--failover-timer=misses=5"]


def test_intervals_are_arguments():
    args = pod_of(rendered(VARIANTS["full"]), "DaemonSet")["containers"][0]["args"]
    assert {"--max-interval=5", "--min-interval=200"} <= set(args)


def test_agents_listen_beyond_loopback_only_for_metrics():
    def address(values):
        args = pod_of(rendered(values), "DaemonSet")["containers"][0]["args"]
        return [arg for arg in args if arg.startswith("--admin-address")]

    assert address({}) == ["--admin-address=127.0.0.1:8090"]
    assert address(VARIANTS["metrics"]) == ["--admin-address=0.0.0.0:8090"]
    assert address({**VARIANTS["full"], "agent": {"adminPort": 9000}}) == ["--admin-address=[::]:9000"]
    probes = pod_of(rendered(), "DaemonSet")["containers"][0]
    assert probes["livenessProbe"]["httpGet"] == {"host": "127.0.0.1", "port": 8090, "path": "/healthz"}
    assert probes["readinessProbe"]["httpGet"] == {"host": "127.0.0.1", "port": 8090, "path": "/readyz"}


def test_metrics_services_find_their_pods():
    values = {"metrics": {"enabled": True, "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}}}
    found = objects(rendered(values))
    for component, kind in (("agent", "DaemonSet"), ("controller", "Deployment")):
        service = found["Service", f"directway-{component}-metrics"]
        pod = found[kind, f"directway-{component}"]["spec"]["template"]
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
        assert ports[service["spec"]["ports"][0]["targetPort"]] == 8090
        monitor = found["ServiceMonitor", f"directway-{component}"]
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert not [key for key in objects(rendered()) if key[0] in ("Service", "ServiceMonitor")]


def test_nothing_may_be_deleted_and_nothing_is_a_wildcard():
    for (kind, name), thing in objects(rendered()).items():
        for rule in thing.get("rules", []) if kind in ("Role", "ClusterRole") else []:
            words = {*rule["verbs"], *rule["resources"], *rule["apiGroups"]}
            assert not words & {"*", "delete", "deletecollection", "escalate", "bind", "impersonate"}, (name, rule)
            assert "secrets" not in words, (name, rule)


@pytest.mark.parametrize(
    "wrong, complaint",
    [
        ({"agnet": {}}, "additional properties 'agnet' not allowed"),
        ({"agent": {"hostNetwork": False}}, "at '/agent': additional properties 'hostNetwork' not allowed"),
        ({"log": {"format": "xml"}}, "at '/log/format': value must be one of 'text', 'json'"),
        ({"agent": {"vipLifetimeSeconds": 9}}, "at '/agent/vipLifetimeSeconds'"),
        ({"agent": {"failoverTimers": {"ask": 5}}}, "at '/agent/failoverTimers/ask': minimum: got 5, want 10"),
        ({"agent": {"failoverTimers": {"asked": 50}}}, "additional properties 'asked' not allowed"),
        ({"agent": {"ipvsSettings": {"conntrack": 1}}}, "value must be one of 'conn_reuse_mode', 'expire_nodest_conn'"),
        ({"agent": {"ipvsSettings": {"conn_reuse_mode": 4}}}, "at '/agent/ipvsSettings/conn_reuse_mode': maximum: got 4, want 3"),
        ({"agent": {"connectionSync": {"id": 256}}}, "at '/agent/connectionSync/id': maximum: got 256, want 255"),
        ({"agent": {"connectionSync": {"interface": "a/b"}}}, "at '/agent/connectionSync/interface': 'a/b' does not match pattern"),
        ({"agent": {"adminPort": 0}}, "at '/agent/adminPort': minimum: got 0, want 1"),
        ({"agent": {"adminPort": "8090"}}, "at '/agent/adminPort': got string, want integer"),
        ({"agent": {"tolerations": {"operator": "Exists"}}}, "at '/agent/tolerations': got object, want array"),
        ({"agent": {"tolerations": [{"effect": "Never"}]}}, "at '/agent/tolerations/0/effect': value must be one of"),
        ({"agent": {"updateStrategy": {"type": "Recreate"}}}, "value must be one of 'RollingUpdate', 'OnDelete'"),
        ({"agent": {"updateStrategy": {"rollingUpdate": {"maxSurge": 1}}}}, "rollingUpdate/maxSurge': value must be"),
        ({"agent": {"extraEnv": [{"value": "1"}]}}, "at '/agent/extraEnv/0': missing property 'name'"),
        ({"controller": {"replicas": 9}}, "at '/controller/replicas': maximum: got 9, want 5"),
        ({"controller": {"serviceAccount": {"name": "Upper"}}}, "'Upper' does not match pattern"),
        ({"image": {"digest": "abc"}}, "at '/image/digest': 'abc' does not match pattern '^$|^sha256:"),
        ({"image": {"repository": ""}}, "at '/image/repository'"),
        ({"crds": {"install": "yes"}}, "at '/crds/install': got string, want boolean"),
        ({"metrics": {"bindAddress": "eth0"}}, "at '/metrics/bindAddress': 'eth0' does not match pattern"),
    ],
)
def test_the_schema_refuses(wrong, complaint):
    done = helm(f"template directway {CHART} --kube-version 1.36.0", wrong)
    assert done.returncode != 0
    assert complaint in done.stderr


def test_an_old_kubernetes_is_refused():
    done = helm(f"template directway {CHART} --kube-version 1.30.9")
    assert "requires kubeVersion: >=1.31.0-0" in done.stderr
