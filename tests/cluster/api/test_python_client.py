"""The official Python client cannot tell the difference."""

from __future__ import annotations

from collections.abc import Iterator

import kubernetes
import pytest

from .live import Running


@pytest.fixture
def core(server: Running) -> Iterator[kubernetes.client.CoreV1Api]:
    with kubernetes.config.new_client_from_config(str(server.kubeconfig)) as api:
        yield kubernetes.client.CoreV1Api(api)


def test_objects_are_made_patched_watched_and_deleted(core: kubernetes.client.CoreV1Api) -> None:
    body = kubernetes.client.V1ConfigMap(metadata={"name": "typed"}, data={"a": "1"})
    made = core.create_namespaced_config_map("default", body)
    assert made.metadata.uid
    patched = core.patch_namespaced_config_map("typed", "default", {"data": {"b": "2"}})
    assert patched.data == {"a": "1", "b": "2"}
    watch = kubernetes.watch.Watch()
    events = watch.stream(core.list_namespaced_config_map, "default", resource_version=made.metadata.resource_version)
    event = next(events)
    watch.stop()
    assert (event["type"], event["object"].metadata.name) == ("MODIFIED", "typed")
    core.delete_namespaced_config_map("typed", "default")
    assert "typed" not in [found.metadata.name for found in core.list_namespaced_config_map("default").items]


def test_an_error_is_an_api_exception(core: kubernetes.client.CoreV1Api) -> None:
    with pytest.raises(kubernetes.client.ApiException) as raised:
        core.read_namespaced_pod("nobody", "default")
    assert (raised.value.status, raised.value.reason) == (404, "Not Found")


def test_custom_objects_are_served(server: Running) -> None:
    with kubernetes.config.new_client_from_config(str(server.kubeconfig)) as api:
        custom = kubernetes.client.CustomObjectsApi(api)
        body = {
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Service",
            "metadata": {"name": "hello"},
            "spec": {"template": {"spec": {"containers": [{"image": "example.com/hello"}]}}},
        }
        place = ("serving.knative.dev", "v1", "default", "services")
        custom.create_namespaced_custom_object(*place, body)
        assert [item["metadata"]["name"] for item in custom.list_namespaced_custom_object(*place)["items"]] == ["hello"]
