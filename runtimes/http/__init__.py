"""Data-plane plumbing: an HTTP/1.1 server and a pooled client on httptools, for any asyncio loop.

Law: imports nothing of the project but `funcs.errors`, and by relative names only, so that it can be shipped inside
another package. Start at `server.serve`, `client.Pool`, `message` (Request, Response,
Takeover, LATER), `settings` and `headers`.
"""
