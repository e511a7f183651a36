"""Ids as a collaborator: uids of objects and the suffixes of generated names.

Law: nothing else in the object core is random. Source: k8s.io/apiserver `names` (five characters, no vowels).
"""

from __future__ import annotations

import itertools
import random
import secrets
import uuid
from typing import Protocol

from funcs.api.names import SAFE


class Ids(Protocol):
    def uid(self) -> str:
        """A fresh UUID."""
        ...

    def suffix(self) -> str:
        """Five characters that may end a DNS label."""
        ...


class RandomIds:
    def uid(self) -> str:
        return str(uuid.uuid4())

    def suffix(self) -> str:
        return "".join(secrets.choice(SAFE) for _ in range(5))


class SerialIds:
    """Ids in order, the same in every run, for tests."""

    def __init__(self, seed: int = 0) -> None:
        self._uids = itertools.count(1)
        self._random = random.Random(seed)  # noqa: S311 - reproducible on purpose

    def uid(self) -> str:
        return f"00000000-0000-4000-8000-{next(self._uids):012d}"

    def suffix(self) -> str:
        return "".join(self._random.choice(SAFE) for _ in range(5))
