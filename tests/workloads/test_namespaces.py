"""In which order a namespace is emptied."""

from __future__ import annotations

from typing import Any

from funcs.api import core
from runtimes.cluster.workloads.namespaces import next_to_go


def an_object(name: str, controller: str = "", deleting: bool = False) -> dict[str, Any]:
    owners = [{"kind": "ReplicaSet", "name": controller, "uid": controller, "controller": True}] if controller else []
    when = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleting else {}
    return {"metadata": {"name": name, "ownerReferences": owners, **when}}


OWNER, CHILD = (core.REPLICA_SET, an_object("rs")), (core.POD, an_object("pod", "rs"))


def test_what_nobody_controls_goes_first_so_that_no_controller_replaces_what_goes() -> None:
    assert next_to_go([CHILD, OWNER]) == [OWNER]


def test_children_go_once_their_owner_is_going_or_gone() -> None:
    assert next_to_go([CHILD, (core.REPLICA_SET, an_object("rs", deleting=True))]) == [CHILD]
    assert next_to_go([CHILD]) == [CHILD]


def test_what_is_going_is_let_go_in_its_own_time() -> None:
    assert next_to_go([(core.POD, an_object("pod", deleting=True))]) == []
