"""The application on a real server: Debian's web server, which answers every request with its node's name."""

from __future__ import annotations

from . import assets
from .node import Node
from .place import Process
from .wait import wait_until

CONFIG = """
server.modules = ("mod_rewrite")
server.document-root = "/run/web"
server.port = {port}
server.bind = "0.0.0.0"
server.pid-file = "/run/web/{port}.pid"
server.errorlog = "/run/web/{port}.err"
server.max-keep-alive-requests = 65000
server.max-keep-alive-idle = 600
server.listen-backlog = 1024
index-file.names = ("name")
url.rewrite-once = ("^/(?!big)" => "/name")
"""


def start(node: Node, port: int = 80) -> Process:
    """Starts the web server; returns when it answers. `/big` is 4 MiB long; any other path answers the node's name."""
    binary = assets.web_server()
    modules = binary.parents[1] / "lib" / "lighttpd"
    node.write("/run/web/name", f"{node.name}\n")
    node.sh("[ -e /run/web/big ] || head -c 4194304 /dev/zero > /run/web/big")
    node.write(f"/run/web/{port}.conf", CONFIG.format(port=port))
    process = node.spawn([binary, "-D", "-m", modules, "-f", f"/run/web/{port}.conf"], f"web-{port}.log")

    def answers() -> bool:
        if not process.running():
            raise RuntimeError(f"{node.name}: the web server ended:\n{process.text()}{node.call(['cat', f'/run/web/{port}.err']).out}")
        return node.http(f"127.0.0.1:{port}", "/").strip() == node.name

    wait_until(answers, f"the web server of {node.name}")
    return process
