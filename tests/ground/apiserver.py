"""etcd and kube-apiserver, natively in the lab's namespace: RBAC, admission, service accounts, no controllers.

There is no controller manager, so the objects of a deleted namespace stay, owner references have no effect, and
there is no `default` service account. Tests that need one of these do it themselves.
"""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import select
import shlex
import ssl
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from . import assets
from .netns import NativeProcess
from .place import CommandFailed
from .wait import NotInTime, wait_until

if TYPE_CHECKING:
    from .lab import Lab

HERE = Path(__file__).resolve().parent
SERVER_NAME = "kubernetes"
# Logs the requests of service accounts with the status of each response, and no others.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}],
}


class ApiError(AssertionError):
    def __init__(self, method: str, path: str, status: int, body: str):
        super().__init__(f"{method} {path}: HTTP {status}: {body}")
        self.status, self.body = status, body


class ApiServer:
    """Serves on the lab's `lan` address and loopback. `get`, `request` and `kubectl` act as cluster admin."""

    port = 6443

    def __init__(self, lab: "Lab"):
        self.lab, self.host = lab, lab.host
        self.dir = lab.dir / "api"
        self.dir.mkdir()
        self.address = lab.address()
        self.url = f"https://{self.address}:{self.port}"
        self.token = secrets.token_hex(16)
        subprocess.run(["bash", str(HERE / "certs.sh"), str(self.dir), ",".join(self.names())], check=True)
        (self.dir / "tokens.csv").write_text(f'{self.token},admin,admin,"system:masters"\n')
        (self.dir / "audit.json").write_text(json.dumps(AUDIT_POLICY))
        self.config = self.dir / "admin.conf"
        self.config.write_text(self.kubeconfig(self.url))
        self._tls = ssl.create_default_context(cafile=str(self.dir / "ca.crt"))
        self._connection: http.client.HTTPConnection | None = None
        # From each start until it is ready. It serves before it has read roles and bindings, and until then refuses what they grant.
        self.starting: list[list[float]] = []
        self.start()

    def names(self) -> list[str]:
        """The names and addresses in the server's certificate."""
        names = [f"DNS:{SERVER_NAME}", "DNS:kubernetes.default.svc", "IP:127.0.0.1"]
        return names + [f"IP:{self.lab.address(segment)}" for segment in self.lab.segments]

    def flags(self) -> dict[str, object]:
        """The command-line flags of kube-apiserver."""
        return {
            "etcd-servers": "http://127.0.0.1:2379",
            "bind-address": "0.0.0.0",
            "secure-port": self.port,
            "advertise-address": self.address,
            "tls-cert-file": self.dir / "server.crt",
            "tls-private-key-file": self.dir / "server.key",
            "token-auth-file": self.dir / "tokens.csv",
            "authorization-mode": "RBAC",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": self.dir / "accounts.crt",
            "service-account-signing-key-file": self.dir / "accounts.key",
            "service-cluster-ip-range": "10.96.0.0/16",
            # The admission plugin waits for service-account objects that only a controller manager makes.
            "disable-admission-plugins": "ServiceAccount",
            "audit-policy-file": self.dir / "audit.json",
            "audit-log-path": self.dir / "audit.log",
            "v": 1,
        }

    def start(self) -> None:
        """Starts etcd and the API server, with the data of an earlier start if there is any."""
        self.starting.append([time.time(), float("inf")])
        self.etcd = self.host.spawn(
            [assets.tool("etcd", "api"), "--data-dir", self.dir / "etcd", "--unsafe-no-fsync", "--log-level", "warn"],
            "etcd.log",
        )
        self.server = self._spawn("kube-apiserver", "api.log", self.flags(), "api")

    def _spawn(self, program: str, log: str, flags: dict[str, object], stage: str) -> NativeProcess:
        return self.host.spawn([assets.tool(program, stage), *(f"--{key}={value}" for key, value in flags.items())], log)

    def stop(self) -> None:
        """Ends the API server and etcd; start() brings them back with their data."""
        self.server.kill()
        self.etcd.kill()
        self._started()
        self._connection = None

    def wait_ready(self, timeout: float = 60) -> "ApiServer":
        def ready() -> bool:
            if not self.server.running() or not self.etcd.running():
                raise RuntimeError(f"the API server ended:\n{self.server.text()[-3000:]}\n{self.etcd.text()[-2000:]}")
            self._connection = None  # one opened early stays with the start-up server, which answers 404 for ever
            return self.raw("GET", "/readyz") == "ok"

        try:
            wait_until(ready, "the API server to serve", timeout)
        except NotInTime as reason:
            raise NotInTime(f"{reason}\n{self.server.text()[-3000:]}") from None
        self._started()
        return self

    def _started(self) -> None:
        self.starting[-1][1] = min(self.starting[-1][1], time.time())

    # Requests -------------------------------------------------------------------------------------

    def raw(self, method: str, path: str, body: object = None, kind: str = "application/json") -> str:
        """One request as admin; ApiError for a status ≥ 400."""
        if self._connection and _ended(self._connection.sock):
            self._connection = None
        if not self._connection:
            self._connection = http.client.HTTPConnection(self.address, self.port, timeout=10)
            plain = self.host.connect(self.address, self.port, 10)
            self._connection.sock = self._tls.wrap_socket(plain, server_hostname=SERVER_NAME)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind, "Accept": "application/json"}
        try:
            self._connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = self._connection.getresponse()
            text = response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as reason:
            self._connection = None
            raise ConnectionError(f"{method} {path}: {reason}") from None
        if response.status >= 400:
            raise ApiError(method, path, response.status, text)
        return text

    def request(self, method: str, path: str, body: object = None, kind: str = "application/json"):
        return json.loads(self.raw(method, path, body, kind))

    def get(self, path: str):
        return self.request("GET", path)

    def kubectl(self, command: str, stdin: str | None = None, timeout: float = 30) -> str:
        """Output of `kubectl COMMAND` as admin, run in the lab's namespace."""
        return self.kubectl_words(shlex.split(command), stdin, timeout)

    def kubectl_words(self, words: list[str], stdin: str | None = None, timeout: float = 30) -> str:
        """The same with a command that is split already."""
        words = [str(assets.tool("kubectl", "api")), "--kubeconfig", str(self.config), *words]
        line = ["ip", "netns", "exec", self.host.netns, *words]
        done = subprocess.run(line, input=stdin or "", capture_output=True, text=True, timeout=timeout)
        if done.returncode:
            raise CommandFailed(f"{shlex.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def apply(self, *objects: dict) -> None:
        """kubectl apply of objects given as dictionaries."""
        self.kubectl("apply -f -", json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def wait_established(self) -> None:
        """Waits until the API server serves every CRD. `kubectl wait` alone fails on a CRD that has no conditions yet."""
        wait_until(lambda: self.kubectl("wait --for=condition=Established crd --all --timeout=5s"), "the definitions to be established", 20)

    def audit(self, service_account: str) -> list[dict]:
        """The requests of service account `namespace/name`, as audit.k8s.io/v1 events; a watch is listed once it has begun."""
        user = "system:serviceaccount:" + service_account.replace("/", ":")
        events = map(json.loads, (self.dir / "audit.log").read_text().splitlines())
        return [event for event in events if event["user"]["username"] == user]

    # Identities -----------------------------------------------------------------------------------

    def kubeconfig(self, url: str, service_account: str | None = None, node: str | None = None) -> str:
        """Text of a kubeconfig: cluster admin, or `namespace/name` of a service account.

        With `node`, and if that Node object exists, the token is bound to it and carries the claim
        `authentication.kubernetes.io/node-name`.
        """
        return self._config(url, {"token": self.mint(service_account, node) if service_account else self.token})

    def _config(self, url: str, user: dict[str, str]) -> str:
        cluster = {"server": url, "certificate-authority-data": self.encoded("ca.crt"), "tls-server-name": SERVER_NAME}
        return json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": "lab", "user": user}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        })

    def encoded(self, name: str) -> str:
        """A key or certificate as kubeconfigs have it."""
        return base64.b64encode((self.dir / name).read_bytes()).decode()

    def mint(self, service_account: str, node: str | None = None) -> str:
        """A token of `namespace/name` for one hour."""
        namespace, name = service_account.split("/")
        spec: dict = {"audiences": [], "expirationSeconds": 3600}
        if node:
            try:
                found = self.get(f"/api/v1/nodes/{node}")
                bound = {"apiVersion": "v1", "kind": "Node", "name": node, "uid": found["metadata"]["uid"]}
                spec["boundObjectRef"] = bound
            except ApiError as reason:
                if reason.status != 404:
                    raise
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return self.request("POST", path, review)["status"]["token"]

    def register(self, name: str, address: str, labels: dict[str, str] | None = None) -> None:
        """Creates a Node object as a kubelet would, or resets one: it removes other labels, annotations and taints."""
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels or {}}}
        try:
            self.request("PUT", f"/api/v1/nodes/{name}", node)
        except ApiError as reason:
            if reason.status != 404:
                raise
            self.request("POST", "/api/v1/nodes", node)
        status = {"addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
                  "conditions": [{"type": "Ready", "status": "True", "reason": "Lab", "message": ""}]}
        self.request("PATCH", f"/api/v1/nodes/{name}/status", {"status": status}, "application/merge-patch+json")


def _ended(one: ssl.SSLSocket | None) -> bool:
    """Whether the server has closed a connection, as it does after a long idle time: it can be read without a request."""
    return one is None or bool(select.select([one], [], [], 0)[0])
