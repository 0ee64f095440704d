"""The project's kinds on a lab's API server."""

from ground import assets
from ground.wait import wait_until


def define_kinds(lab) -> None:
    """Applies `crds/`, and waits until the API server serves the kinds and kubectl finds them."""
    for path in sorted((assets.ROOT / "crds").glob("*.yaml")):
        lab.kubectl("apply --server-side -f -", path.read_text())
    lab.api.wait_established()
    wait_until(lambda: "virtualservices" in lab.kubectl("api-resources --api-group=directway.dev"), "discovery of the kinds")
