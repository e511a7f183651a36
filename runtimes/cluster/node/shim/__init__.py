"""The shim: one small process per pod, which outlives every other part of the platform.

Law: it knows how to start, watch and stop processes and nothing of Kubernetes; it imports only what starts in a few
milliseconds (hence `_json`, `_socket`, `_signal` and no asyncio). Its package is imported by path, under the name
`shim`, by an interpreter without site-packages. All of its IO is here: mounts, processes, log and status files.
"""
