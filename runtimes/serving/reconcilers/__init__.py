"""Serving's reconcilers, one module a kind."""
