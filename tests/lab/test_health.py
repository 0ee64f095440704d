"""Directors find real servers that do not serve, by checks of their own, and send clients to the others."""

import json
import re
from contextlib import contextmanager
from pathlib import Path

import pytest
from ground import clients, judges, web
from ground.wait import wait_until
from support import VIP, virtual_service
from support.directors import more

FAST = {"intervalSeconds": 1, "timeoutSeconds": 1}
FALL = 3
# Accepts connections, and never answers. `listen` keeps the socket open: nobody calls accept().
MUTE = "import socket, time; s = socket.socket(); s.setsockopt(1, 2, 1); s.bind(('', 80)); s.listen(512); time.sleep(3600)"
TLS = Path(__file__).parents[1] / "tls"
HTTPS = """
import http.server, ssl
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
server = http.server.ThreadingHTTPServer(("", 8443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("{certificate}", "{key}")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""
# Answers every query without records, with a response code.
NAMES = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", 53))
while True:
    query, client = server.recvfrom(512)
    server.sendto(query[:2] + bytes([0x81, 0x80 | {code}]) + query[4:], client)
"""


@contextmanager
def stopped(fleet, *names):
    """The applications of real servers are ended, and started again at the end."""
    servers = fleet.site.servers
    for name in names:
        servers[name].stop()
    try:
        yield
    finally:
        for name in names:
            if not servers[name].running():
                servers[name] = web.start(fleet.lab[name])


def why(fleet, address: str) -> str:
    """What the holder says of a real server."""
    state = json.loads(fleet.director().agent.get("/state"))
    for entry in state["status"]["directing"]:
        for unready in entry.get("unready", []):
            if unready["address"] == address:
                return f"{unready['reason']}: {unready['message']}"
    return ""


def test_an_application_that_stops_loses_its_connections_until_it_starts_again(fleet):
    fleet.assign_roles()
    service = fleet.serve(healthCheck=FAST)
    with clients.steady(fleet.host, VIP, interval=0.02) as load:
        more(load)
        with stopped(fleet, "r2"):
            fleet.wait_weights(service, {"r1": 1, "r2": 0})
            message = why(fleet, fleet.site.address("r2"))
            assert re.match(rf"HealthCheckFailed: the check of the direct path has failed since .*: the port is closed", message), message
            before = len(load.so_far().errors)
            more(load)
            assert len(load.so_far().errors) == before, "a request to the stopped application after it was taken out"
        fleet.wait_weights(service, {"r1": 1, "r2": 1})
        before = len(load.so_far().errors)
        more(load)
        outcome = load.stop()
    assert len(outcome.errors) == before, outcome
    print(f"requests lost until the application was taken out: {before}")


def test_a_vip_that_a_real_server_lacks_is_found_although_its_application_answers(fleet):
    fleet.assign_roles()
    service = fleet.serve(healthCheck={**FAST, "type": "HTTP"})
    r2 = fleet.lab["r2"]
    fleet.stop("r2", kill=True)
    r2.sh(f"ip addr del {VIP}/32 dev lo")
    fleet.wait_weights(service, {"r1": 1, "r2": 0})
    message = why(fleet, fleet.site.address("r2"))
    assert "the check of the direct path has failed" in message and "no answer within 1000 ms: bind the VIP there" in message, message
    assert clients.requests(fleet.host, VIP, n=10).counts == {"r1": 10}
    fleet.start("r2")
    fleet.wait_weights(service, {"r1": 1, "r2": 1})


def test_a_firewall_that_drops_new_connections_to_the_vip_only_is_found(cluster):
    cluster.assign_roles()
    service = cluster.serve(healthCheck={**FAST, "type": "TCP"})
    r2 = cluster.lab["r2"]
    rule = f"INPUT -d {VIP} -p tcp --syn -j DROP"
    r2.sh(f"iptables-legacy -I {rule}")
    try:
        cluster.wait_weights(service, {"r1": 1, "r2": 0})
        cluster.wait_condition("Ready", "True", "Degraded")
        described = cluster.api.kubectl("describe dvs web")
        assert "HealthCheckFailed" in described and "no answer within 1000 ms" in described, described
        assert clients.requests(cluster.host, VIP, n=10).counts == {"r1": 10}
    finally:
        r2.sh(f"iptables-legacy -D {rule}; modprobe -r iptable_filter ip_tables")
    cluster.wait_weights(service, {"r1": 1, "r2": 1})
    cluster.wait_condition("Ready", "True", "Serving")


def test_if_all_real_servers_fail_all_keep_their_weight_until_one_passes(cluster):
    cluster.assign_roles()
    service = cluster.serve(healthCheck=FAST)
    with stopped(cluster, "r2"):
        cluster.wait_weights(service, {"r1": 1, "r2": 0})
        with stopped(cluster, "r1"):
            cluster.wait_weights(service, {"r1": 1, "r2": 1})
            words = ("2 of 2 real servers", "no real server passes its checks")
            told = lambda: all(word in cluster.wait_condition("Ready", "True", "Degraded") for word in words)
            wait_until(told, "the condition to say that both get connections although they fail")
        cluster.wait_weights(service, {"r1": 1, "r2": 0})
    cluster.wait_weights(service, {"r1": 1, "r2": 1})
    cluster.wait_condition("Ready", "True", "Serving")


@pytest.mark.parametrize("check, is_found", [("TCP", False), ("HTTP", True)])
def test_an_application_that_accepts_and_never_answers_is_found_by_http(cluster, check, is_found):
    cluster.assign_roles()
    service = cluster.serve(healthCheck={**FAST, "type": check})
    r2 = cluster.lab["r2"]
    with stopped(cluster, "r2"):
        mute = r2.spawn(["python3", "-c", MUTE], "mute.log")
        try:
            wait_until(lambda: r2.ok("ss -Hltn 'sport = :80' | grep -q ."), "the mute application to listen")
            if is_found:
                cluster.wait_weights(service, {"r1": 1, "r2": 0})
                message = why(cluster, cluster.site.address("r2"))
                assert "the check HTTP GET / has failed" in message, message
            else:
                # It may have been taken out for as long as nobody listened.
                cluster.wait_weights(service, {"r1": 1, "r2": 1})
                passed = checks_made(cluster)
                wait_until(lambda: checks_made(cluster) > passed + 4 * FALL, "more checks to be made")
                assert cluster.weights(service) == {"r1": 1, "r2": 1}
        finally:
            mute.kill()
    cluster.wait_weights(service, {"r1": 1, "r2": 1})


def checks_made(fleet) -> float:
    """How many health checks the director has made."""
    metrics = fleet.director().agent.metrics()
    return sum(count for name, count in metrics.items() if name.startswith("directway_health_checks_total"))


def test_a_restarted_agent_takes_nobody_s_weight(fleet):
    fleet.assign_roles()
    service = fleet.serve(healthCheck=FAST)
    director = fleet.director()
    with clients.steady(fleet.host, VIP) as load:
        for _ in range(3):
            more(load)
            fleet.stop("d", kill=True)
            fleet.start("d")
            assert judges.weights(director, f"{VIP}:80").values() and all(judges.weights(director, f"{VIP}:80").values())
        more(load)
        outcome = load.stop()
    assert outcome.errors == [], outcome
    fleet.wait_weights(service, {"r1": 1, "r2": 1})


def test_a_host_outside_the_cluster_is_checked_by_its_path(hosts):
    hosts.assign_roles(real_servers=("r1",))
    hosts.site.up("r3")
    address = hosts.site.address("r3")
    r3 = hosts.lab["r3"]
    r3.sh(f"sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2; ip addr add {VIP}/32 dev lo")
    service = virtual_service(healthCheck=FAST, real_servers={"external": [{"address": address}]})
    try:
        hosts.start()
        hosts.apply(service)
        hosts.wait_weights(service, {"r1": 1, "r3": 1})
        r3.sh(f"ip addr del {VIP}/32 dev lo")
        hosts.wait_weights(service, {"r1": 1, "r3": 0})
        r3.sh(f"ip addr add {VIP}/32 dev lo")
        hosts.wait_weights(service, {"r1": 1, "r3": 1})
    finally:
        r3.call(["ip", "addr", "del", f"{VIP}/32", "dev", "lo"])
        r3.sh("sysctl -qw net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.all.arp_announce=0")


def test_a_certificate_that_has_expired_takes_the_weight_until_it_is_renewed(cluster):
    cluster.assign_roles()
    ca = (TLS / "ca.pem").read_text()
    check = {**FAST, "type": "HTTPS", "port": 8443, "tls": {"ca": ca, "serverName": "shop.example"}}
    r1, r2 = cluster.lab["r1"], cluster.lab["r2"]
    servers = {node: https(node, "valid.pem") for node in (r1, r2)}
    try:
        service = cluster.serve(healthCheck=check)
        for certificate, weight in (("expired.pem", 0), ("valid.pem", 1)):
            servers[r2].kill()
            servers[r2] = https(r2, certificate)
            cluster.wait_weights(service, {"r1": 1, "r2": weight})
            if not weight:
                message = why(cluster, cluster.site.address("r2"))
                assert "certificate expired" in message, message
    finally:
        for server in servers.values():
            server.kill()


def https(node, certificate: str):
    """A web server on port 8443 with this certificate."""
    return listening(node, HTTPS.format(certificate=TLS / certificate, key=TLS / "key.pem"), "-Hltn 'sport = :8443'")


def listening(node, code: str, sockets: str):
    """A program in Python that listens."""
    process = node.spawn(["/usr/bin/python3", "-c", code], "listening.log")
    wait_until(lambda: node.ok(f"ss {sockets} | grep -q ."), f"{node.name} to listen: {sockets}")
    return process


@pytest.mark.parametrize("code, weight", [(2, 0), (3, 1)])
def test_a_name_server_that_answers_servfail_gets_no_connections(hosts, code, weight):
    hosts.assign_roles()
    r1, r2 = hosts.lab["r1"], hosts.lab["r2"]
    names = [listening(node, NAMES.format(code=it), "-Hlun 'sport = :53'") for node, it in ((r1, 0), (r2, code))]
    try:
        check = {**FAST, "directPath": False, "type": "DNS", "dns": {"name": "shop.example"}}
        service = virtual_service(ports=[{"port": 53, "protocol": "UDP"}], healthCheck=check)
        hosts.start()
        hosts.apply(service)
        hosts.wait_weights(service, {"r1": 1, "r2": weight} if weight else {"r1": 1})
        if not weight:
            told = lambda: "SERVFAIL" in why(hosts, hosts.site.address("r2"))
            wait_until(told, "the director to say SERVFAIL of r2")
    finally:
        for process in names:
            process.kill()
