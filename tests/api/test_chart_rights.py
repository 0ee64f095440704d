"""The rights of the chart's service accounts on the real API server: enough for the programs, and no more."""

import json

import pytest
from chart import CHART, NAMESPACE, helm_ok
from ground.objects import virtual_service
from ground.place import CommandFailed
from ground.wait import wait_until

NODES = ("node-a", "node-b")
AGENT = f"{NAMESPACE}/directway-agent"


@pytest.fixture(scope="module", autouse=True)
def installed(lab):
    helm_ok(f"install directway {CHART} --namespace {NAMESPACE} --create-namespace", {}, lab)
    lab.api.wait_established()
    for name in NODES:
        space = lab.add_host(name)
        address = json.loads(space.sh("ip -j -4 addr show eth0"))[0]["addr_info"][0]["local"]
        lab.api.register(name, address, {"directway.dev/director": "true", "directway.dev/backend": ""})


class Account:
    """kubectl as a service account, with a token that is bound to a node, or to none."""

    def __init__(self, lab, node: str | None, account: str = AGENT):
        self.lab = lab
        self.config = lab.dir / f"{account.replace('/', '-')}-{node}.conf"
        self.config.write_text(lab.api.kubeconfig(lab.api.url, account, node))

    def __call__(self, command: str, stdin: str | None = None) -> str:
        return self.lab.kubectl(f"--kubeconfig {self.config} {command}", stdin)

    def report(self, node: str, options: str = "") -> str:
        """Writes a report by server-side apply, as an agent does."""
        return self(f"apply --server-side --force-conflicts -o name {options} -f -", json.dumps(node_state(node)))


def node_state(node: str) -> dict:
    labels = {"seen": "yes"}
    return {"apiVersion": "directway.dev/v1alpha1", "kind": "NodeState", "metadata": {"name": node, "labels": labels}}


@pytest.fixture
def node_states(lab):
    """Removes NodeStates afterwards, which only an administrator can."""
    yield
    lab.kubectl("delete nodestates --all")


def test_an_agent_reports_on_its_own_node_only(lab, node_states):
    agent = Account(lab, "node-a")
    refusal = "the agent of node node-a may write the NodeState and the heartbeat of that node only, not node-b"
    # Admission policies take effect a moment after their creation.
    wait_until(lambda: refused(agent, "node-b", refusal), "the policy to be in force", 20)
    for node in ("node-a", "node-b"):
        assert Account(lab, node).report(node) == f"nodestate.directway.dev/{node}\n"
    for options in ("", "--subresource status"):
        agent.report("node-a", options)
        with pytest.raises(CommandFailed, match=refusal):
            agent.report("node-b", options)
    with pytest.raises(CommandFailed, match=refusal):
        agent("create -f -", json.dumps(node_state("node-b")))


def refused(agent: Account, node: str, refusal: str) -> bool:
    try:
        agent.report(node)
    except CommandFailed as reason:
        assert refusal in str(reason), reason
        return True
    agent.lab.kubectl(f"delete nodestate {node}")
    return False


def heartbeat(name: str) -> str:
    return json.dumps({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name, "namespace": NAMESPACE}})


def test_an_agent_writes_its_own_heartbeat_only_and_no_other_lease(lab, node_states):
    agent = Account(lab, "node-a")
    refusal = "the agent of node node-a may write the NodeState and the heartbeat of that node only"
    wait_until(lambda: refused(agent, "node-b", refusal), "the policy to be in force", 20)
    agent("apply --server-side -f -", heartbeat("directway-agent-node-a"))
    for name in ("directway-agent-node-b", "directway-controller", "node-a"):
        with pytest.raises(CommandFailed, match=refusal):
            agent("apply --server-side -f -", heartbeat(name))
    lab.kubectl("create -f -", heartbeat("of-somebody-else"))


def test_a_token_without_a_node_writes_nothing(lab, node_states):
    with pytest.raises(CommandFailed, match="the agent's token names no node"):
        Account(lab, None).report("node-a")


def test_others_are_not_concerned_by_the_policy(lab, node_states):
    lab.kubectl("create -f -", json.dumps(node_state("node-b")))
    lab.kubectl("annotate nodestate node-b checked=yes")


@pytest.mark.parametrize(
    "account, command",
    [
        ("agent", "delete nodestate node-a"),
        ("agent", "delete nodestates --all"),
        ("agent", "replace --raw /apis/directway.dev/v1alpha1/nodestates/node-a -f -"),
        ("agent", "annotate node node-a a=b"),
        ("agent", "label node node-b directway.dev/director-"),
        ("agent", "annotate dvs web a=b"),
        ("agent", "patch dvs web --subresource status --type merge --patch {}"),
        ("agent", f"get secrets --namespace {NAMESPACE}"),
        ("agent", "get pods --all-namespaces"),
        ("agent", f"get leases --namespace {NAMESPACE}"),
        ("agent", f"delete lease directway-controller --namespace {NAMESPACE}"),
        ("controller", "annotate dvs web a=b"),
        ("controller", "delete dvs web"),
        ("controller", "annotate nodestate node-a a=b"),
        ("controller", "annotate node node-a a=b"),
        ("controller", f"get secrets --namespace {NAMESPACE}"),
        ("controller", "get pods --all-namespaces"),
        ("controller", "get leases --namespace kube-system"),
    ],
)
def test_what_they_may_not_do(lab, account, command):
    lab.api.apply(WEB, node_state("node-a"))
    with pytest.raises(CommandFailed, match="is forbidden|cannot"):
        Account(lab, "node-a", f"{NAMESPACE}/directway-{account}")(command)


WEB = virtual_service("web", "10.77.0.200", scheduler=None, drainSeconds=None)
