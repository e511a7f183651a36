"""The one condition of a run, Succeeded, and what a run's state is by it.

Law: the transition time moves only when the condition's content does. No IO.
"""

from __future__ import annotations

from funcs.api import conditions, meta
from funcs.api.meta import Object, Objects
from pipelines.steps.status import Outcome

HAPPY = "Succeeded"


def render(outcome: Outcome, previous: Object, now: float) -> Objects:
    """`status.conditions` of a run whose last seen object is `previous`."""
    old = conditions.find(previous, HAPPY)
    new = conditions.Condition(HAPPY, outcome.status, outcome.reason, outcome.message)
    kept = old is not None and old.same_as(new) and bool(old.transition)
    return [
        {
            "type": HAPPY,
            "status": outcome.status,
            "reason": outcome.reason,
            "message": outcome.message,
            "lastTransitionTime": old.transition if kept and old else meta.timestamp(now),
        }
    ]


def of(run: Object) -> Outcome:
    """What the run says of itself; Unknown without a reason if it says nothing yet."""
    found = conditions.find(run, HAPPY)
    return Outcome(found.status, found.reason, found.message) if found else Outcome("Unknown", "", "")


def is_done(run: Object) -> bool:
    return of(run).is_done
