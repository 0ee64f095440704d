"""Objects that the scenarios apply."""

from ground import assets

DIRECTOR, BACKEND = "directway.dev/director", "directway.dev/backend"
VIP = "10.77.0.100"


def virtual_service(name: str = "web", vip: str = VIP, port: int = 80, **spec) -> dict:
    return {
        "apiVersion": "directway.dev/v1alpha1", "kind": "VirtualService",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "vips": [vip], "ports": [{"port": port}], "scheduler": {"name": "rr"}, "realServers": {"nodeSelector": {}}, **spec,
        },
    }


def container(name: str, script: str, **more) -> dict:
    """A shell script in the image of tools."""
    return {"name": name, "image": assets.TOOLS_IMAGE, "imagePullPolicy": "Never", "command": ["sh", "-c", script], **more}


def pod(name: str, script: str = "exec sleep 3600", **spec) -> dict:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container("main", script)], **spec},
    }


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
