"""The embedded git server: stores and serves repositories over smart HTTP, and tells of pushes by webhook.

Law: it only stores and serves; what a push leads to is an EventListener's to decide. Start at `server.GitServer`.
"""
