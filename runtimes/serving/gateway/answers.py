"""What the gateway answers itself.

Law: every refusal says what was wrong and, where there is one, the remedy; nothing a client sent is echoed unescaped.
No IO.
"""

from __future__ import annotations

from http import HTTPStatus


def answer(status: int, text: str, *, close: bool = False, head: bool = False) -> bytes:
    """A whole response. `close` says that the connection ends with it; `head` leaves the body out."""
    body = text.encode()
    lines = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        "content-type: text/plain; charset=utf-8\r\n"
        f"content-length: {len(body)}\r\n"
        f"{'connection: close' + chr(13) + chr(10) if close else ''}\r\n"
    )
    return lines.encode() + (b"" if head else body)


def unknown_host(host: bytes, domain: str) -> str:
    shown = ascii(host[:253].decode("latin-1"))[1:-1]
    return (
        f'no route for host "{shown}"\n'
        f"Services are at <name>.<namespace>.{domain}; `kubectl get ksvc -A` lists them with their URLs.\n"
    )
