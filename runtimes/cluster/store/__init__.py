"""The embedded cluster's store: the Client port over SQLite."""

from .client import StoreClient, StoreSettings

__all__ = ["StoreClient", "StoreSettings"]
