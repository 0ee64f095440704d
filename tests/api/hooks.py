"""Runs Helm's hooks in place of Job controller and kubelet, which the API level does not have."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

from chart import NAMESPACE, start_pod

if TYPE_CHECKING:
    from ground import Lab
    from ground.netns import Namespace, NativeProcess


class Hooks:
    """While entered: runs the container of each hook's Job or Pod as a process in `place`, as on `node`, once.

    `logs` has their output, by name. The test only waits for Helm meanwhile, because two threads cannot share the lab's connection.
    """

    def __init__(self, lab: "Lab", place: "Namespace", node: str):
        self.lab, self.place, self.node = lab, place, node
        self.logs: dict[str, str] = {}
        self._seen: set[str] = set()
        self._running: dict[tuple[str, str], "NativeProcess"] = {}
        self._error: BaseException | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hooks", daemon=True)

    def __enter__(self) -> "Hooks":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._end.set()
        self._thread.join(30)
        for process in self._running.values():
            process.kill()
        if self._error:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._end.is_set():
                self._start_new()
                self._report_ended()
                time.sleep(0.2)
        except BaseException as reason:
            self._error = reason

    def _start_new(self) -> None:
        listed = self.lab.api.kubectl(f"--namespace {NAMESPACE} get jobs,pods -o json")
        for thing in json.loads(listed)["items"]:
            meta = thing["metadata"]
            if "helm.sh/hook" not in meta.get("annotations", {}) or meta["uid"] in self._seen or has_ended(thing):
                continue
            self._seen.add(meta["uid"])
            spec = thing["spec"] if thing["kind"] == "Pod" else thing["spec"]["template"]["spec"]
            log = f"{meta['name']}-{meta['uid']}.log"
            process = start_pod(self.lab, self.place, spec, meta["name"], self.node, log)
            self._running[thing["kind"].lower(), meta["name"]] = process

    def _report_ended(self) -> None:
        for (kind, name), process in list(self._running.items()):
            if process.running():
                continue
            del self._running[kind, name]
            self.logs[name] = process.text()
            status = pod_status(process.wait()) if kind == "pod" else job_status(process.wait())
            self.lab.api.kubectl(
                f"--namespace {NAMESPACE} patch {kind} {name} --subresource status --type merge --patch-file /dev/stdin",
                json.dumps({"status": status}),
            )


def has_ended(thing: dict) -> bool:
    """Whether it has ended, so that it belongs to an earlier attempt."""
    status = thing.get("status", {})
    return "conditions" in status if thing["kind"] == "Job" else status.get("phase") in ("Succeeded", "Failed")


def job_status(code: int) -> dict:
    """The status that the Job controller writes: first the verdict's condition, then the final one."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    verdicts = ("SuccessCriteriaMet", "Complete") if code == 0 else ("FailureTarget", "Failed")
    conditions = [
        {"type": kind, "status": "True", "reason": "PodEnded", "message": f"exit status {code}", "lastTransitionTime": now}
        for kind in verdicts
    ]
    status = {"startTime": now, "conditions": conditions, "uncountedTerminatedPods": {}}
    return status | ({"succeeded": 1, "completionTime": now} if code == 0 else {"failed": 1})


def pod_status(code: int) -> dict:
    return {"phase": "Succeeded" if code == 0 else "Failed", "message": f"exit status {code}"}
