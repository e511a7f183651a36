"""One live server for the protocol tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .live import Running, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("cluster")) as found:
        yield found
