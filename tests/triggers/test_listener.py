# ruff: noqa: E501 - tables read best in rows
"""An EventListener answers at once and then makes what its templates say."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from starlette.applications import Starlette

from funcs.api import core, meta, schema
from funcs.api.admission import Request, admit
from funcs.api.conditions import is_ready
from funcs.api.meta import Object
from funcs.api.triggers import EVENT_LISTENER, RULES, VIEWS
from funcs.control.ids import SerialIds
from funcs.control.memory import MemoryClient
from funcs.control.testing import World
from funcs.errors import Invalid, NotFound, Timeout
from pipelines.triggers.interceptors import signature
from pipelines.triggers.listener import Listener, ListenerSettings
from pipelines.triggers.reconciler import controllers

API = "triggers.tekton.dev/v1beta1"


def obj(kind: str, name: str, spec: Object, **annotations: str) -> Object:
    metadata = {"name": name, "namespace": "default", "annotations": annotations}
    return {"apiVersion": API, "kind": kind, "metadata": metadata, "spec": spec}


def config_map(name: str, ref: str = "$(tt.params.ref)") -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": name}, "data": {"ref": ref}}


GITHUB = {
    "ref": {"name": "github"},
    "params": [
        {"name": "secretRef", "value": {"secretName": "hook", "secretKey": "token"}},
        {"name": "eventTypes", "value": ["push"]},
    ],
}
PUSH = {
    "name": "push",
    "interceptors": [GITHUB],
    "bindings": [{"ref": "push"}, {"name": "extra", "value": "x"}],
    "template": {"ref": "build"},
}
OBJECTS = [
    obj("EventListener", "git", {"serviceAccountName": "builder", "triggers": [PUSH]}),
    obj("EventListener", "open", {"triggers": [{"template": {"spec": {"resourcetemplates": [config_map("o-", "$(uid)")]}}}]},
        **{"tekton.dev/payload-validation": "false"}),
    obj("TriggerBinding", "push", {"params": [{"name": "ref", "value": "$(body.ref)"}]}),
    obj("TriggerTemplate", "build", {"params": [{"name": "ref"}], "resourcetemplates": [config_map("c-")]}),
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hook", "namespace": "default"},
     "data": {"token": base64.b64encode(b"secret").decode()}},
]  # fmt: skip


class Door:
    def __init__(self, client: MemoryClient, listener: Listener, http: httpx.AsyncClient) -> None:
        self.client, self.listener, self.http = client, listener, http

    async def push(self, payload: Any, *, path: str = "default/git", **headers: str) -> httpx.Response:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        sent = {"x-github-event": "push", "x-hub-signature-256": signature(b"secret", body)}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(f"/listeners/{path}", content=body, headers=sent)

    def made(self) -> list[Object]:
        return self.client.objects(core.CONFIG_MAP)


@pytest_asyncio.fixture
async def door() -> AsyncIterator[Door]:
    client = MemoryClient()
    client.seed(*OBJECTS)
    async with Listener(client, SerialIds().uid, ListenerSettings(body=1000)) as listener:
        transport = httpx.ASGITransport(Starlette(routes=listener.routes()))
        async with httpx.AsyncClient(transport=transport, base_url="http://hub") as http:
            yield Door(client, listener, http)


async def test_a_push_makes_what_the_template_says(door: Door) -> None:
    answer = await door.push({"ref": "refs/heads/main"})
    assert answer.status_code == 202
    told = answer.json()
    assert (told["eventListener"], told["namespace"]) == ("git", "default")
    assert told["eventListenerUID"] == meta.uid(await door.client.get(EVENT_LISTENER, "git", "default"))
    outcome = await door.listener.outcome(told["eventID"], 5)
    (made,) = outcome.created
    assert made["data"] == {"ref": "refs/heads/main"}
    assert meta.labels(made) == {
        "triggers.tekton.dev/eventlistener": "git",
        "triggers.tekton.dev/trigger": "push",
        "triggers.tekton.dev/triggers-eventid": told["eventID"],
    }
    assert meta.name(made).startswith("c-")
    assert door.made() == [made]


@pytest.mark.parametrize(
    ("payload", "headers", "why"),
    [
        ({"ref": "x"}, {"x_hub_signature_256": "sha256=0"}, "payload signature check failed"),
        ({"ref": "x"}, {"x_github_event": "ping"}, "event type ping is not allowed"),
        ({}, {}, "param ref: ref is not found: $(body.ref)"),
    ],
)
async def test_what_does_not_fire_is_accepted_and_explained(
    door: Door, payload: Any, headers: dict[str, str], why: str
) -> None:
    answer = await door.push(payload, **headers)
    assert answer.status_code == 202, "the sender is not told what a signature would have to be"
    outcome = await door.listener.outcome(answer.json()["eventID"], 5)
    assert outcome.refused == {"push": why}
    assert door.made() == []


async def test_a_delivery_is_handled_once(door: Door) -> None:
    first = await door.push({"ref": "a"}, x_github_delivery="d1")
    await door.listener.outcome(first.json()["eventID"], 5)
    second = await door.push({"ref": "a"}, x_github_delivery="d1")
    assert first.json() == second.json()
    third = await door.push({"ref": "a"}, x_github_delivery="d2")
    await door.listener.outcome(third.json()["eventID"], 5)
    assert len(door.made()) == 2


async def test_a_delivery_that_made_nothing_may_be_repeated(door: Door) -> None:
    await door.client.delete(core.SECRET, "hook", "default")
    first = await door.push({"ref": "a"}, x_github_delivery="d1")
    outcome = await door.listener.outcome(first.json()["eventID"], 5)
    assert "not found" in outcome.refused["push"]
    door.client.seed(OBJECTS[-1])
    second = await door.push({"ref": "a"}, x_github_delivery="d1")
    assert len((await door.listener.outcome(second.json()["eventID"], 5)).created) == 1


@pytest.mark.parametrize(
    ("path", "payload", "status", "says"),
    [
        ("default/git", b"{", 400, "the body is not JSON"),
        ("default/git", b"\xff", 400, "the body is not JSON"),
        ("default/git", b"[" * 900, 400, "the body is not JSON"),
        ("default/git", b"[" + b" " * 1001 + b"]", 413, "larger than 1000 bytes"),
        ("default/none", b"{}", 404, "not found"),
        ("default/open", b"not json", 202, "eventID"),
        ("default/open", b"", 202, "eventID"),
    ],
)
async def test_the_answer(door: Door, path: str, payload: bytes, status: int, says: str) -> None:
    answer = await door.push(payload, path=path)
    assert (answer.status_code, says in answer.text) == (status, True), answer.text


async def test_other_methods_are_refused(door: Door) -> None:
    assert (await door.http.get("/listeners/default/git")).status_code == 405
    assert (await door.http.get("/listeners/default/git/live")).status_code == 200


async def test_the_outcome_of_an_unknown_event_is_not_waited_for(door: Door) -> None:
    with pytest.raises(NotFound, match="no event x is known"):
        await door.listener.outcome("x", 5)


async def test_an_outcome_has_a_deadline() -> None:
    client = MemoryClient()
    client.seed(*OBJECTS)
    listener = Listener(client, SerialIds().uid, ListenerSettings(waiting=1))  # nobody works
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(Starlette(routes=listener.routes())), base_url="http://hub"
    ) as http:
        answer = await http.post("/listeners/default/open", content=b"{}")
        with pytest.raises(Timeout, match="have not run within"):
            await listener.outcome(answer.json()["eventID"], 0.01)
        assert (await http.post("/listeners/default/open", content=b"{}")).status_code == 503


async def test_a_listener_is_addressed_and_a_settled_world_costs_no_writes() -> None:
    client = MemoryClient(rules=RULES)
    client.seed(*OBJECTS)
    made = lambda client, cache: controllers(client, cache, client.clock, lambda key: f"http://hub/listeners/{key}")  # noqa: E731
    world = World(made, client)
    await world.settle()
    found = await client.get(EVENT_LISTENER, "git", "default")
    assert is_ready(found)
    assert found["status"]["address"]["url"] == "http://hub/listeners/default/git"
    assert found["status"]["configuration"] == {"generatedName": "el-git"}
    assert await World(made, client).settle() == []
    assert await world.advance(3600.0) == []
    assert schema.unknown_fields(schema.of_kind(EVENT_LISTENER, VIEWS[EVENT_LISTENER]), found) == []


@pytest.mark.parametrize(
    ("kind", "spec", "message"),
    [
        ("EventListener", {"triggers": [{"triggerRef": "x"}]}, "references to Trigger objects are not supported"),
        ("EventListener", {"triggerGroups": [{}]}, "trigger groups are not supported"),
        ("EventListener", {}, "missing field(s): spec.triggers"),
        ("EventListener", {"triggers": [{}]}, "missing field(s): spec.triggers[0].template"),
        ("EventListener", {"triggers": [{**PUSH, "interceptors": [{"ref": {"name": "cel"}}]}]}, "the interceptor cel is not supported"),
        ("EventListener", {"triggers": [{**PUSH, "interceptors": [{"webhook": {}}]}]}, "the interceptor without a ref is not supported"),
        ("EventListener", {"triggers": [{**PUSH, "bindings": [{"ref": "x", "kind": "ClusterTriggerBinding"}]}]}, "only TriggerBinding is supported"),
        ("EventListener", {"triggers": [{**PUSH, "bindings": [{"name": "x"}]}]}, "missing field(s): spec.triggers[0].bindings[0].value"),
        ("TriggerTemplate", {"resourcetemplates": []}, "missing field(s): spec.resourcetemplates"),
        ("TriggerTemplate", {"resourcetemplates": [config_map("c")]}, "undeclared param '$(tt.params.ref)': spec.resourcetemplates[0]"),
        ("TriggerBinding", {"params": [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]}, "spec.params[a].name"),
        ("TriggerBinding", {"params": [{"name": "a"}]}, "missing required field `value`: spec.params[0]"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(kind: str, spec: Object, message: str) -> None:
    known = {found.kind: found for found in RULES}
    with pytest.raises(Invalid) as caught:
        admit(Request(kind=known[kind], operation="CREATE", object=obj(kind, "x", spec)), RULES)
    assert message in str(caught.value)
