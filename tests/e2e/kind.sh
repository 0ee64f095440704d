#!/usr/bin/env bash
# kind.sh [PYTEST ARGUMENT…]: the chart on a kind cluster, with the lab's judges and clients.
#
# Makes a cluster of its own, builds the image, installs the chart, runs tests/e2e and takes all of it away again.
# KEEP=1 leaves the cluster. Exit status: 0 passed, 1 failed, 3 skipped because something is missing here.
set -euo pipefail
cd "$(dirname "$0")/../.."
name=directway-e2e-$$
export KIND_CLUSTER=$name KUBECONFIG

skip() { echo "skipped: $1"; echo "  what to do: $2"; exit 3; }

[ "$(id -u)" = 0 ] || skip "not root" "run as root: the judges look into the nodes' network namespaces"
for program in docker kind kubectl helm ip nsenter ipvsadm arping tcpdump; do
    command -v "$program" >/dev/null || skip "$program is missing" "install it; the lab (make lab) needs no Docker"
done
docker info >/dev/null 2>&1 || skip "no Docker engine answers" "start dockerd; the lab (make lab) needs no Docker"
# Containers share this machine's kernel, and kind's nodes cannot load modules of their own choice.
modprobe ip_vs 2>/dev/null || [ -d /proc/sys/net/ipv4/vs ] ||
    skip "this machine's kernel has no IPVS" "install its full module package; the lab (make lab) brings its own kernel"

work=$(mktemp -d)
KUBECONFIG=$work/config
clean() {
    status=$?
    if [ "${KEEP:-}" ]; then
        echo "kept: KUBECONFIG=$KUBECONFIG; remove with: kind delete cluster --name $name"
    else
        kind delete cluster --name "$name" >/dev/null 2>&1 || true
        rm -rf "$work"
    fi
    exit $status
}
trap clean EXIT

version=$(sed -n 's/^appVersion: //p' charts/directway/Chart.yaml)
make image
size=$(docker image inspect --format '{{.Size}}' "directway:$version")
echo "image: $size bytes"
[ "$size" -le $((15 * 1024 * 1024)) ] || { echo "the image is larger than 15 MiB"; exit 1; }
# What is assembled without Docker around the same binary has to be the same image.
docker save --output "$work/built.tar" "directway:$version"
container=$(docker create "directway:$version")
docker cp "$container:/directway" "$work/directway" && docker rm "$container" >/dev/null
.ci/image "$work/assembled.tar" "$work/directway"
/usr/bin/python3 tests/e2e/same_image.py "$work/built.tar" "$work/assembled.tar"
kind create cluster --name "$name" --config tests/e2e/kind.yaml --wait 120s
kind load docker-image --name "$name" "directway:$version"
PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m pytest -p no:cacheprovider -rs -v tests/e2e "$@"
