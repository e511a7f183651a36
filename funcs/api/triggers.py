"""triggers.tekton.dev/v1beta1: EventListener, Trigger, TriggerBinding, TriggerTemplate: kinds, views, validation.

Law: pure. Source: Tekton Triggers' API v1beta1. No IO.
"""

from __future__ import annotations

from .kinds import Column, Kind

_ALL = ("tekton", "tekton-triggers")

EVENT_LISTENER = Kind(
    group="triggers.tekton.dev", version="v1beta1", kind="EventListener", plural="eventlisteners", short_names=("el",),
    categories=_ALL,
    columns=(
        Column("Address", ".status.address.url"),
        Column("Available", ".status.conditions[?(@.type=='Available')].status"),
        Column("Reason", ".status.conditions[?(@.type=='Available')].reason"),
        Column("Ready", ".status.conditions[?(@.type=='Ready')].status"),
        Column("Reason", ".status.conditions[?(@.type=='Ready')].reason"),
    ),
)  # fmt: skip
TRIGGER_BINDING = Kind(
    group="triggers.tekton.dev", version="v1beta1", kind="TriggerBinding", plural="triggerbindings",
    short_names=("tb",), categories=_ALL, status=False,
)  # fmt: skip
TRIGGER_TEMPLATE = Kind(
    group="triggers.tekton.dev", version="v1beta1", kind="TriggerTemplate", plural="triggertemplates",
    short_names=("tt",), categories=_ALL, status=False,
)  # fmt: skip

KINDS: tuple[Kind, ...] = (EVENT_LISTENER, TRIGGER_BINDING, TRIGGER_TEMPLATE)
