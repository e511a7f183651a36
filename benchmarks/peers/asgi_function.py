"""func-python's peer of each function; run by an interpreter that has it. Argument: http, reply or consumer."""

import logging
import sys

BODY = b'{"message":"Hello, world!"}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]


async def hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


async def reply(scope, receive, send):
    from cloudevents.core.v1.event import CloudEvent

    event = scope["event"]
    logging.info("received %s from %s", event.get_type(), event.get_source())
    await send.binary(CloudEvent({"type": "reply", "source": "/function"}, {"received": event.get_data()}))


async def consumer(scope, receive, send):
    assert scope["event"].get_data() is not None
    await send.http({"type": "http.response.start", "status": 204, "headers": []})
    await send.http({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    if sys.argv[1] == "http":
        from func_python.http import serve

        handle = hello
    else:
        from func_python.cloudevent import serve

        handle = reply if sys.argv[1] == "reply" else consumer
    handle.__name__ = "handle"
    serve(handle)
