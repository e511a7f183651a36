"""Identifiers that no other process will make: a random prefix of the process, and a count.

Law: unique, not secret. A system call for each would cost more than the request it names.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable


def identities(prefix: str = "") -> Callable[[], str]:
    """Makes the function that makes them; `prefix`: 16 random hexadecimal digits unless given."""
    prefix = prefix or os.urandom(8).hex()
    count = itertools.count(1).__next__
    return lambda: f"{prefix}{count():08x}"
