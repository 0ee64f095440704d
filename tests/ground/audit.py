"""What a service account has asked the API server for, against what its roles grant; both as (verb, group, resource)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .apiserver import ApiServer

STARTING = re.compile("RBAC: .*not found")  # the roles of a binding that is there
Right = tuple[str, str, str]


def asked(api: "ApiServer", service_account: str) -> dict[Right, list[dict]]:
    """The audit events of `namespace/name` by the right that each needs."""
    found: dict[Right, list[dict]] = {}
    for event in api.audit(service_account):
        target = event.get("objectRef", {})
        if "resource" not in target:
            continue  # discovery and the like, which everybody may read
        resource = "/".join(filter(None, (target["resource"], target.get("subresource"))))
        verbs = [event["verb"]]
        # Server-side apply of an object that is not there asks for the right to create it, too.
        if verbs == ["patch"] and event["responseStatus"]["code"] == 201:
            verbs.append("create")
        for verb in verbs:
            found.setdefault((verb, target.get("apiGroup", ""), resource), []).append(event)
    return found


def granted(roles: list[dict]) -> set[Right]:
    """By Roles and ClusterRoles."""
    rules = [rule for role in roles for rule in role["rules"]]
    return {(verb, g, r) for rule in rules for verb in rule["verbs"] for g in rule["apiGroups"] for r in rule["resources"]}


def denied(events: dict[Right, list[dict]]) -> list[str]:
    """Requests that were refused, as text; but by a server that is starting, and has not read its own roles yet."""
    return [
        f"{' '.join(right)} {event['objectRef'].get('name', '')}: {event['responseStatus']}"
        for right, found in events.items() for event in found
        if event["responseStatus"]["code"] in (401, 403) and not STARTING.search(event["responseStatus"].get("message", ""))
    ]
