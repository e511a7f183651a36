"""The process in a function's pod: `python -m …function` loads the author's code and serves it over HTTP.

Law: the call shape is decided once, when the code is loaded; a request pays only for what its handler uses. Inside the
project it imports `..http`, `funcs.sdk` and `funcs.errors`, nothing else.
"""
