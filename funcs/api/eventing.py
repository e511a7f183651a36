"""eventing.knative.dev: Broker and Trigger: kinds, typed views, defaulting, validation.

Law: pure; config maps are arguments. Sources: Knative eventing's CRDs and control-plane specification. No IO.
"""

from __future__ import annotations

from .kinds import Column, Kind

_AGE = Column("Age", ".metadata.creationTimestamp", "date")
_READY = (
    Column("Ready", ".status.conditions[?(@.type=='Ready')].status"),
    Column("Reason", ".status.conditions[?(@.type=='Ready')].reason"),
)

BROKER = Kind(
    group="eventing.knative.dev", version="v1", kind="Broker", plural="brokers",
    categories=("all", "knative", "eventing"),
    columns=(Column("URL", ".status.address.url"), _AGE, *_READY),
)  # fmt: skip
TRIGGER = Kind(
    group="eventing.knative.dev", version="v1", kind="Trigger", plural="triggers",
    categories=("all", "knative", "eventing"),
    columns=(Column("Broker", ".spec.broker"), Column("Subscriber_URI", ".status.subscriberUri"), _AGE, *_READY),
)  # fmt: skip

KINDS: tuple[Kind, ...] = (BROKER, TRIGGER)
