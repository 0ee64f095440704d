"""A user's steps on a cluster: labels, Helm, a manifest, requests, an upgrade under load, and an uninstallation that leaves nothing."""

from __future__ import annotations

import time

from ground import Lab, clients, cluster, judges
from ground.workstation import Workstation
from ground.standard import CLUSTER_NODES, SHOP, standard_cluster

import proof
from console import run, say, step

VIP = "192.168.188.120"  # of examples/web.yaml
SPACE = "directway-system"
DIRECTOR, *REAL_SERVERS = NODES = CLUSTER_NODES[:3]
INTERVAL = 0.02  # seconds between two requests of the load
BEYOND = 50  # requests before and after the upgrade


def show(lab: Lab) -> None:
    boot(lab)
    workstation = Workstation(lab)
    before = {name: judges.snapshot(node) for name, node in lab.nodes.items()}
    install(workstation)
    serve(workstation)
    for name in NODES:
        proof.what_it_got(lab, name, NODES)
    proof.twelve_requests(lab, VIP)
    proof.who_has(lab, SHOP[0], VIP, NODES, count=3)
    proof.path_of_a_request(lab, SHOP[0], VIP, NODES)
    step("The same question from a pod")
    run(workstation, f"helm test directway --namespace {SPACE} --hide-notes")
    upgrade(lab, workstation)
    uninstall(lab, workstation, before)


def boot(lab: Lab) -> None:
    step(f"Boot {len(CLUSTER_NODES)} nodes, each with its own kernel, containerd and kubelet")
    began = time.monotonic()
    standard_cluster(lab, lambda text: say(f"  {time.monotonic() - began:5.1f} s  {text}"))


def install(workstation: Workstation) -> None:
    step("Say which node may hold virtual IPs and which ones run the application")
    run(
        workstation, f"kubectl label node {DIRECTOR} directway.dev/director=true",
        f"kubectl label node {' '.join(REAL_SERVERS)} directway.dev/backend=true",
        "kubectl get nodes -L directway.dev/director,directway.dev/backend",
    )
    step("Install directway")
    run(
        workstation, f"helm install directway charts/directway --namespace {SPACE} --create-namespace",
        f"kubectl --namespace {SPACE} rollout status daemonset/directway-agent --timeout=120s",
        f"kubectl --namespace {SPACE} rollout status deployment/directway-controller --timeout=120s",
        f"kubectl --namespace {SPACE} get pods -o wide",
    )


def serve(workstation: Workstation) -> None:
    step("An application: a web server on every real server")
    run(
        workstation, "kubectl apply -f examples/web-servers.yaml",
        "kubectl rollout status daemonset/web-servers --timeout=60s",
    )
    step("What would examples/web.yaml change? (nothing is applied yet)")
    run(workstation, "kubectl directway plan -f examples/web.yaml")
    step("Apply it")
    run(
        workstation, "kubectl apply -f examples/web.yaml", "kubectl wait --for=condition=Ready dvs/web --timeout=60s",
        "kubectl get dvs -o wide", "kubectl directway status",
    )


def upgrade(lab: Lab, workstation: Workstation) -> None:
    step(f"Replace every agent, one node after the other, while a client opens {1 / INTERVAL:.0f} connections a second")
    old = agents(lab)
    load = clients.load(lab.host, VIP, interval=INTERVAL)
    load.wait_answers(BEYOND)
    run(
        workstation, f"helm upgrade directway charts/directway --namespace {SPACE} --reset-then-reuse-values --set log.level=debug",
        f"kubectl --namespace {SPACE} rollout status daemonset/directway-agent --timeout=180s",
    )
    replaced = old - agents(lab)
    load.wait_answers(len(load.so_far().answers) + BEYOND)
    outcome = load.stop()
    spread = ", ".join(f"{name} {count}" for name, count in sorted(outcome.counts.items()))
    say(f"{len(replaced)} of {len(old)} agents were replaced.")
    say(f"{len(outcome.rows)} requests meanwhile, answered by {spread}.")
    proof.expect(replaced == old, "No agent is left that was there before.")
    proof.expect(not outcome.errors, f"Requests lost: {len(outcome.errors)} of {len(outcome.rows)}.")


def agents(lab: Lab) -> set[str]:
    return {pod["metadata"]["uid"] for pod in cluster.pods(lab, SPACE, "app.kubernetes.io/component=agent")}


def uninstall(lab: Lab, workstation: Workstation, before: dict[str, dict[str, str]]) -> None:
    step("Uninstall it, VIP and all: every agent undoes its node before anything is deleted")
    run(workstation, f"helm uninstall directway --namespace {SPACE}", "kubectl delete -f examples/web-servers.yaml")
    step("What is left on the nodes?")
    proof.nothing_left(lab, before)
