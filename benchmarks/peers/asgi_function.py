"""func-python's peer of the templates; run by an interpreter that has it. Argument: http or cloudevents."""

import logging
import sys

logging.disable(logging.INFO)


async def hello(scope, receive, send):
    body = b'{"message": "Hello, world!"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def event(scope, receive, send):
    from cloudevents.core.v1.event import CloudEvent

    data = scope["event"].get_data()
    await send(CloudEvent({"type": "reply", "source": "/function"}, {"received": data}))


if __name__ == "__main__":
    if sys.argv[1] == "http":
        from func_python.http import serve

        handle = hello
    else:
        from func_python.cloudevent import serve

        handle = event
    handle.__name__ = "handle"
    serve(handle)
