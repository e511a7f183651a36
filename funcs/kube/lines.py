"""A stream of bytes as lines.

Law: a line without end is refused, not collected. No IO.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from funcs.errors import Unavailable

LONGEST = 8 * 1024 * 1024  # bytes; the largest object fits several times


async def lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Each line that is not empty, without its end. Raises Unavailable."""
    parts: list[bytes] = []
    held = 0
    async for chunk in chunks:
        *ended, rest = chunk.split(b"\n")
        for line in ended:
            whole = b"".join((*parts, line)).strip()
            parts, held = [], 0
            if whole:
                yield whole
        parts.append(rest)
        held += len(rest)
        if held > LONGEST:
            raise Unavailable(f"the server sent a line of more than {LONGEST} bytes")
    last = b"".join(parts).strip()
    if last:
        yield last
