"""Objects that the scenarios apply."""

from functools import partial

from ground import assets
from ground import objects as shared

(DIRECTOR,), (BACKEND,) = shared.DIRECTOR, shared.BACKEND  # the labels' names
VIP = shared.VIP
# Draining as in the CRD's default: web servers in pods may be slow, and no request may be lost.
virtual_service = partial(shared.virtual_service, drainSeconds=60)


def container(name: str, script: str, **more) -> dict:
    """A container that runs a shell script in the tools image."""
    return {"name": name, "image": assets.TOOLS_IMAGE, "imagePullPolicy": "Never", "command": ["sh", "-c", script], **more}


def pod(name: str, script: str = "exec sleep 3600", **spec) -> dict:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container("main", script)], **spec},
    }


SHOP_VIP, SHOP_PORT = "10.77.0.101", 8080


def shop(replicas: int, host_network: bool = True) -> list[dict]:
    """A Deployment, its Service, and a VirtualService that follows it: examples/deployment.yaml with another server.

    Its pods answer the node's name, are ready while /tmp/web/ready exists, and end at once on SIGTERM.
    """
    config = f'server.document-root="/tmp/web" server.port={SHOP_PORT} index-file.names=("index.html")'
    script = (
        "mkdir -p /tmp/web; echo $NODE_NAME > /tmp/web/index.html; touch /tmp/web/ready; "
        f"echo '{config}' > /tmp/web.conf; exec lighttpd -D -f /tmp/web.conf"
    )
    server = container(
        "web", script, image=assets.WEB_IMAGE, env=[NODE_NAME], ports=[{"name": "http", "containerPort": SHOP_PORT}],
        readinessProbe={"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 1},
        lifecycle={"preStop": {"sleep": {"seconds": 5}}},
    )
    labels, metadata = {"app": "shop"}, {"name": "shop", "namespace": "default"}
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels}, "strategy": {"rollingUpdate": IN_PLACE},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "hostNetwork": host_network, "nodeSelector": {BACKEND: "true"}, "terminationGracePeriodSeconds": 30,
                    "containers": [server],
                },
            },
        },
    }
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": {"selector": labels, "ports": [{"name": "http", "port": SHOP_PORT, "targetPort": "http"}]},
    }
    following = virtual_service("shop", SHOP_VIP, SHOP_PORT, scheduler=None, realServers={"service": {"name": "shop"}}, drainSeconds=5)
    return [deployment, service, following]


# A pod of the next revision starts on a node when the old one has ended; or on a free node first.
IN_PLACE = {"maxSurge": 0, "maxUnavailable": 1}
SURGE = {"maxSurge": 1, "maxUnavailable": 0}

NODE_NAME = {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}


def web_servers(port: int = 80) -> dict:
    """A web server on every node with the label of a real server, on the node's own network; it answers the node's name."""
    script = f"mkdir -p /tmp/web; echo $NODE_NAME > /tmp/web/index.html; exec httpd -f -p {port} -h /tmp/web"
    server = container("web", script, env=[NODE_NAME])
    return {
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "web-servers", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "hostNetwork": True, "nodeSelector": {BACKEND: "true"}, "terminationGracePeriodSeconds": 0,
                    "tolerations": [{"operator": "Exists"}], "containers": [server],
                },
            },
        },
    }


def echo(nodes: tuple[str, ...]) -> list[dict]:
    """A Service on the cluster's network with a pod on each of the nodes, which answers the node's name."""
    script = "mkdir -p /tmp/web; echo $NODE_NAME > /tmp/web/index.html; exec httpd -f -p 8080 -h /tmp/web"
    pods = []
    for node in nodes:
        one = pod(f"echo-{node}", nodeName=node, containers=[container("echo", script, env=[NODE_NAME])])
        one["metadata"]["labels"] = {"app": "echo"}
        pods.append(one)
    spec = {"selector": {"app": "echo"}, "ports": [{"port": 80, "targetPort": 8080}]}
    return [*pods, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "echo", "namespace": "default"}, "spec": spec}]
