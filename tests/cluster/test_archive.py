"""The image that users get, and that every node has."""

import hashlib
import io
import json
import subprocess
import tarfile

import pytest
from ground import assets, oci

pytestmark = pytest.mark.core


@pytest.fixture(scope="module")
def archive():
    with tarfile.open(assets.image()) as found:
        yield found


def blob(archive, descriptor: dict) -> bytes:
    data = archive.extractfile("blobs/" + descriptor["digest"].replace(":", "/")).read()
    assert descriptor["digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}" and descriptor["size"] == len(data)
    return data


@pytest.fixture(scope="module")
def manifest(archive):
    (entry,) = json.load(archive.extractfile("index.json"))["manifests"]
    return json.loads(blob(archive, entry))


def test_it_is_one_binary_and_small(archive, manifest, tmp_path):
    (layer,) = manifest["layers"]
    assert layer["size"] + manifest["config"]["size"] <= 15e6
    with tarfile.open(fileobj=io.BytesIO(blob(archive, layer))) as files:
        (program,) = files.getmembers()
    assert (program.name, program.mode, program.uid) == ("directway", 0o755, 0)
    (tmp_path / "directway").write_bytes(oci.contents(assets.image())["directway"])
    # The image has no libraries, so the program must be static.
    linked = subprocess.run(["ldd", tmp_path / "directway"], capture_output=True, text=True)
    assert "statically linked" in linked.stdout or "not a dynamic executable" in linked.stderr


def test_it_says_what_it_is(archive, manifest):
    config = json.loads(blob(archive, manifest["config"]))["config"]
    version = assets.version()
    assert config["Entrypoint"] == ["/directway"] and config["User"] == "0:0"
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    assert labels["version"] == version and labels["licenses"] == "Apache-2.0"
    head = subprocess.run(["git", "-C", assets.ROOT, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    assert labels["revision"] == (head or "unknown") and labels["source"]


def test_the_same_source_gives_the_same_image(tmp_path):
    for name in ("one.tar", "two.tar"):
        subprocess.run([assets.ROOT / ".ci" / "image", tmp_path / name], check=True, capture_output=True)
    first = (tmp_path / "one.tar").read_bytes()
    assert first == (tmp_path / "two.tar").read_bytes() == assets.image().read_bytes()


def test_every_node_has_it(cluster):
    for node in cluster.lab.nodes.values():
        assert f"docker.io/library/directway:{assets.version()}" in node.ctr("images", "list", "-q").splitlines()


def test_there_is_no_shell(installed):
    pod = installed.pods("agent")["d"][0]["metadata"]["name"]
    with pytest.raises(AssertionError, match="no such file or directory"):
        installed.kubectl(f"--namespace directway-system exec {pod} -- /bin/sh")
