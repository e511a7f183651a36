"""The control part: API server, store, controllers, autoscaler, registry, git, listeners, in one process.

Law: composition only; whatever is decided is decided in the packages below. IO: opens the store, serves two sockets.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from starlette.applications import Starlette

from funcs.api import core
from funcs.api.catalog import KINDS
from funcs.api.meta import Object
from funcs.api.rules import RULES, VIEWS
from funcs.control.client import LogOptions
from funcs.control.clock import Clock, SystemClock
from funcs.control.controller import Controller
from funcs.control.engine import EngineSettings
from funcs.control.ids import RandomIds
from funcs.control.informer import Informers
from funcs.control.loop import Loop
from funcs.oci.layout import Layout
from pipelines.engine.controllers import controllers as pipeline_controllers
from pipelines.steps.pod import PodSettings
from runtimes.cluster import logs, pki, workloads
from runtimes.cluster.api.app import ApiServer, ApiSettings
from runtimes.cluster.api.authentication import Authenticator, TokenIssuer
from runtimes.cluster.api.bootstrap import bootstrap
from runtimes.cluster.api.server import Tls, serve
from runtimes.cluster.api.tokens import TokenKey
from runtimes.cluster.registry.access import by_token
from runtimes.cluster.registry.server import RegistryServer
from runtimes.cluster.registry.uploads import Uploads, UploadSettings
from runtimes.cluster.store import StoreClient, StoreSettings
from runtimes.cluster.workloads.placement import node_labels, placing

from . import credentials
from .duty import Duty


async def run(duty: Duty) -> None:
    """Until told to stop."""
    clock, ids, informers = SystemClock(), RandomIds(), Informers(KINDS)
