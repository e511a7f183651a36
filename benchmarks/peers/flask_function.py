"""functions-framework's peer of the templates."""

import functions_framework


@functions_framework.http
def hello(request):
    return {"message": "Hello, world!"}


@functions_framework.cloud_event
def consumer(event):
    assert event.data is not None
