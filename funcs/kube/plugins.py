"""Endpoints whose credentials come from a plug-in, by way of the official `kubernetes` package.

Law: only what that package knows better is asked of it: exec plug-ins, OIDC, cloud providers, proxies. When the server
refuses a token, it is asked for another. The IO is the package's.
"""

from __future__ import annotations

from pathlib import Path

from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import load_kube_config
from kubernetes.aio.config.config_exception import ConfigException

from funcs.errors import BadRequest

from .endpoint import Endpoint


async def plugged_in(path: Path, context: str, namespace: str) -> Endpoint:
    """Raises BadRequest."""
    configuration = Configuration()
    try:
        loader = await load_kube_config(
            config_file=str(path), context=context, client_configuration=configuration, persist_config=False
        )
        tls = RESTClientObject(configuration).ssl_context
    except (ConfigException, OSError, ValueError) as error:
        raise BadRequest(f"{path}: {error}") from error

    async def authorize(fresh: bool) -> str:
        if fresh:
            await loader.load_and_set(configuration)
        return await configuration.get_api_key_with_prefix("BearerToken") or ""

    return Endpoint(
        server=configuration.host.rstrip("/"),
        tls=tls if configuration.host.startswith("https") else None,
        authorize=authorize,
        server_name=configuration.tls_server_name,
        proxy=configuration.proxy,
        namespace=namespace,
    )
