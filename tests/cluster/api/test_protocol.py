"""The protocol as its bytes: what any HTTP client sees."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from funcs.api import catalog
from funcs.api.meta import Object
from funcs.api.rules import VIEWS
from runtimes.cluster.api.bootstrap import bootstrap

from .live import ADMIN_TOKEN, ALICE_TOKEN, Running, running

PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


@pytest.fixture
def http(server: Running) -> Iterator[httpx.Client]:
    context = ssl.create_default_context(cafile=str(server.pki.authority))
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    with httpx.Client(base_url=server.url, verify=context, headers=headers, timeout=10) as client:
        yield client


def config_map(name: str, **more: object) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}, **more}


def test_an_unknown_token_is_unauthorized(http: httpx.Client) -> None:
    answer = http.get("/api/v1/pods", headers={"Authorization": "Bearer wrong"})
    assert (answer.status_code, answer.json()["reason"]) == (401, "Unauthorized")


def test_the_anonymous_may_ask_for_health_and_nothing_else(http: httpx.Client) -> None:
    del http.headers["Authorization"]
    assert http.get("/healthz").text == "ok"
    assert http.get("/api/v1/pods").status_code == 401


def test_a_refusal_is_worded_as_kubernetes_words_it(http: httpx.Client) -> None:
    answer = http.get(f"{PODS}/x/log", headers={"Authorization": f"Bearer {ALICE_TOKEN}"})
    assert answer.status_code == 403
    assert answer.json()["message"] == (
        'pods "x" is forbidden: User "alice" cannot get resource "pods/log" in API group "" in the namespace "default"'
    )


def test_a_foreign_host_is_refused(http: httpx.Client) -> None:
    assert http.get("/version", headers={"Host": "rebound.example.com"}).status_code == 403


@pytest.mark.parametrize(
    ("body", "type", "code"),
    [
        pytest.param(b"{", "application/json", 400, id="broken JSON"),
        pytest.param(b"[]", "application/json", 400, id="no object"),
        pytest.param(b"a: &a 1\nb: *a", "application/yaml", 400, id="YAML with aliases"),
        pytest.param(b"a: " + b"[" * 5000, "application/yaml", 400, id="YAML too deep"),
        pytest.param(b"x", "text/plain", 415, id="another type"),
        pytest.param(b"k8s\x00\xff\xff", "application/vnd.kubernetes.protobuf", 400, id="broken protobuf"),
        pytest.param(b" " * (3 * 1024 * 1024 + 1), "application/json", 413, id="too large"),
    ],
)
def test_a_bad_body_is_a_status(http: httpx.Client, body: bytes, type: str, code: int) -> None:
    answer = http.post(MAPS, content=body, headers={"Content-Type": type})
    assert answer.status_code == code
    assert answer.json()["kind"] == "Status"
    assert answer.json()["code"] == code


def test_a_yaml_body_is_read(http: httpx.Client) -> None:
    text = "kind: ConfigMap\napiVersion: v1\nmetadata: {name: from-yaml}\ndata: {day: '2020-01-01'}"
    answer = http.post(MAPS, content=text, headers={"Content-Type": "application/yaml"})
    assert (answer.status_code, answer.json()["data"]) == (201, {"day": "2020-01-01"})


def test_an_unknown_field_warns_by_default_and_is_not_kept(http: httpx.Client) -> None:
    answer = http.post(MAPS, json=config_map("warned", dta={}))
    assert answer.status_code == 201
    assert answer.headers["warning"] == '299 - "unknown field \\"dta\\""'
    assert "dta" not in answer.json()


def test_an_unknown_field_is_refused_when_strict(http: httpx.Client) -> None:
    answer = http.post(f"{MAPS}?fieldValidation=Strict", json=config_map("strict", dta={}))
    assert answer.status_code == 400
    assert 'strict decoding error: unknown field "dta"' in answer.json()["message"]


def test_nothing_is_created_in_a_namespace_that_is_not_there(http: httpx.Client) -> None:
    answer = http.post("/api/v1/namespaces/nowhere/configmaps", json=config_map("x"))
    assert (answer.status_code, answer.json()["message"]) == (404, 'namespaces "nowhere" not found')


def test_nothing_is_created_in_a_namespace_that_is_going(http: httpx.Client) -> None:
    body = {"metadata": {"name": "going", "finalizers": ["example.com/hold"]}}
    assert http.post("/api/v1/namespaces", json=body).status_code == 201
    assert http.delete("/api/v1/namespaces/going").json()["metadata"]["deletionTimestamp"]
    answer = http.post("/api/v1/namespaces/going/configmaps", json=config_map("x"))
    assert answer.status_code == 403
    assert "because it is being terminated" in answer.json()["message"]


def test_a_dry_run_leaves_nothing(http: httpx.Client) -> None:
    assert http.post(f"{MAPS}?dryRun=All", json=config_map("dry")).status_code == 201
    assert http.get(f"{MAPS}/dry").status_code == 404


def test_a_stale_update_is_a_conflict(http: httpx.Client) -> None:
    first = http.post(MAPS, json=config_map("raced")).json()
    assert http.put(f"{MAPS}/raced", json={**first, "data": {"a": "2"}}).status_code == 200
    answer = http.put(f"{MAPS}/raced", json={**first, "data": {"a": "3"}})
    assert (answer.status_code, answer.json()["reason"]) == (409, "Conflict")


def test_a_list_is_paged(http: httpx.Client) -> None:
    for number in range(5):
        http.post(MAPS, json=config_map(f"page-{number}", metadata={"name": f"page-{number}", "labels": {"p": "1"}}))
    names: list[str] = []
    token = ""
    while True:
        answer = http.get(MAPS, params={"labelSelector": "p=1", "limit": "2", "continue": token}).json()
        names += [item["metadata"]["name"] for item in answer["items"]]
        token = answer["metadata"].get("continue", "")
        if not token:
            break
    assert names == [f"page-{number}" for number in range(5)]


@pytest.mark.parametrize("selector", ["labelSelector=a in", "fieldSelector=spec.nope=1", "limit=-1", "watch=perhaps"])
def test_a_bad_query_is_a_bad_request(http: httpx.Client, selector: str) -> None:
    assert http.get(f"{PODS}?{selector}").status_code == 400


def test_a_watch_sends_lines_as_they_come(http: httpx.Client) -> None:
    version = http.get(MAPS).json()["metadata"]["resourceVersion"]
    with http.stream("GET", f"{MAPS}?watch=true&resourceVersion={version}&timeoutSeconds=5") as stream:
        http.post(MAPS, json=config_map("watched"))
        event = json.loads(next(stream.iter_lines()))
    assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "watched")


def test_a_watch_of_a_table_defines_its_columns_once(http: httpx.Client) -> None:
    for name in ("columns-1", "columns-2"):
        http.post(MAPS, json=config_map(name))
    url = f"{MAPS}?watch=true&timeoutSeconds=5"
    with http.stream("GET", url, headers={"Accept": TABLE}) as stream:
        lines = stream.iter_lines()
        first, second = (json.loads(next(lines))["object"] for _ in range(2))
    assert [column["name"] for column in first["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert second["columnDefinitions"] == []


def test_initial_events_end_with_a_marked_bookmark(http: httpx.Client) -> None:
    query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    with http.stream("GET", f"/api/v1/namespaces?{query}&timeoutSeconds=5") as stream:
        for line in stream.iter_lines():
            event = json.loads(line)
            if event["type"] == "BOOKMARK":
                break
            assert event["type"] == "ADDED"
    assert event["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_a_watch_ends_at_its_timeout(http: httpx.Client) -> None:
    version = http.get(MAPS).json()["metadata"]["resourceVersion"]
    answer = http.get(f"{MAPS}?watch=true&resourceVersion={version}&timeoutSeconds=1")
    assert (answer.status_code, answer.text) == (200, "")


def test_metadata_alone_can_be_asked_for(http: httpx.Client) -> None:
    accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    answer = http.get("/api/v1/namespaces", headers={"Accept": accept}).json()
    assert answer["kind"] == "PartialObjectMetadataList"
    assert set(answer["items"][0]) == {"kind", "apiVersion", "metadata"}


def test_protobuf_alone_is_not_acceptable(http: httpx.Client) -> None:
    answer = http.get("/api/v1/namespaces", headers={"Accept": "application/vnd.kubernetes.protobuf"})
    assert answer.status_code == 406


def test_a_service_account_token_is_worth_what_its_account_is(http: httpx.Client) -> None:
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    http.post(accounts, json={"metadata": {"name": "robot"}})
    token = http.post(f"{accounts}/robot/token", json={"spec": {"expirationSeconds": 600}}).json()["status"]["token"]
    review = {"spec": {"token": token}}
    reviewed = http.post("/apis/authentication.k8s.io/v1/tokenreviews", json=review).json()["status"]
    assert reviewed["user"]["username"] == "system:serviceaccount:default:robot"
    assert http.get(PODS, headers={"Authorization": f"Bearer {token}"}).status_code == 403
    http.delete(f"{accounts}/robot")
    assert http.get(PODS, headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_nobody_hands_out_what_they_do_not_hold(http: httpx.Client) -> None:
    binding = {
        "metadata": {"name": "alice-admin"},
        "roleRef": {"kind": "ClusterRole", "name": "admin"},
        "subjects": [{"kind": "User", "name": "alice"}],
    }
    roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
    assert http.post(f"{roles}/rolebindings", json=binding).status_code == 201
    mine = {"Authorization": f"Bearer {ALICE_TOKEN}"}
    allowed = {"metadata": {"name": "reads"}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}
    greedy = {"metadata": {"name": "greedy"}, "rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]}
    assert http.post(f"{roles}/roles", json=allowed, headers=mine).status_code == 201
    assert http.post(f"{roles}/roles", json=greedy, headers=mine).status_code == 403
    patch = {"rules": greedy["rules"]}
    merge = {**mine, "Content-Type": "application/merge-patch+json"}
    assert http.patch(f"{roles}/roles/reads", content=json.dumps(patch), headers=merge).status_code == 403


@pytest.mark.parametrize("part", ["exec", "attach", "portforward", "proxy"])
def test_what_is_not_served_is_refused_by_name(http: httpx.Client, part: str) -> None:
    answer = http.post(f"{PODS}/x/{part}")
    assert answer.status_code == 501
    assert f'"{part}"' in answer.json()["message"]


def test_a_path_that_climbs_is_refused(http: httpx.Client) -> None:
    assert http.get("/api/v1/namespaces/default/pods/%2e%2e").status_code == 400
    assert http.get("/api/v1/namespaces/default/pods/a%2Fb").status_code == 400


def test_every_watch_ends_when_the_server_stops(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        stopping = contextlib.ExitStack()
        server = stopping.enter_context(running(tmp_path))
        context = ssl.create_default_context(cafile=str(server.pki.authority))
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        client = stack.enter_context(httpx.Client(base_url=server.url, verify=context, headers=headers, timeout=10))
        stream = stack.enter_context(client.stream("GET", "/api/v1/namespaces?watch=true"))
        lines = stream.iter_lines()
        assert json.loads(next(lines))["type"] == "ADDED"
        started = time.monotonic()
        closing = threading.Thread(target=stopping.close)
        closing.start()
        assert len(list(lines)) < 10
        closing.join()
        assert time.monotonic() - started < 2.5


def test_a_settled_cluster_is_started_without_writes(server: Running) -> None:
    before = server.client.version
    again = bootstrap(server.client, catalog.KINDS, VIEWS, 0.0)
    asyncio.run_coroutine_threadsafe(again, server.loop).result(10)
    assert server.client.version == before
