"""VirtualServices and reports for the tests of the API level."""

import copy
import json
from pathlib import Path

import yaml

TABLE = yaml.safe_load((Path(__file__).parent / "cases.yaml").read_text())


def merge(target, patch):
    """JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = merge(target.get(name), value)
    return target


def from_table(name: str, spec: dict, namespace: str = "default") -> dict:
    """The table's base with `spec` merged into it."""
    return {
        "apiVersion": "directway.dev/v1alpha1", "kind": "VirtualService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": merge(copy.deepcopy(TABLE["base"]), spec),
    }


def text(*objects: dict) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
