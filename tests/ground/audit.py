"""Compares a service account's API requests with the rights of its roles; both as (verb, group, resource)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .apiserver import ApiServer

Right = tuple[str, str, str]


def asked(api: "ApiServer", service_account: str) -> dict[Right, list[dict]]:
    """The audit events of `namespace/name` by the right that each needs."""
    found: dict[Right, list[dict]] = {}
    for event in api.audit(service_account):
        target = event.get("objectRef", {})
        if "resource" not in target:
            continue  # discovery and the like, which every account may read
        resource = "/".join(filter(None, (target["resource"], target.get("subresource"))))
        verbs = [event["verb"]]
        # Server-side apply of a missing object needs the right to create it, too.
        if verbs == ["patch"] and event["responseStatus"]["code"] == 201:
            verbs.append("create")
        for verb in verbs:
            found.setdefault((verb, target.get("apiGroup", ""), resource), []).append(event)
    return found


def granted(roles: list[dict]) -> set[Right]:
    """The rights that Roles and ClusterRoles grant."""
    rules = [rule for role in roles for rule in role["rules"]]
    return {(verb, g, r) for rule in rules for verb in rule["verbs"] for g in rule["apiGroups"] for r in rule["resources"]}


def denied(events: dict[Right, list[dict]], gaps: list[list[float]] = ()) -> list[str]:
    """Denied requests, as text; without those in `gaps`, times (first and last second) in which the roles did not apply."""
    return [
        f"{event['requestReceivedTimestamp']} {' '.join(right)} {event['objectRef'].get('name', '')}: {event['responseStatus']}"
        for right, found in events.items() for event in found
        if event["responseStatus"]["code"] in (401, 403) and not any(start <= received(event) <= end for start, end in gaps)
    ]


def received(event: dict) -> float:
    return datetime.fromisoformat(event["requestReceivedTimestamp"].replace("Z", "+00:00")).timestamp()
