"""Any part may die at any time, in any order, under load: what was promised is kept."""

from __future__ import annotations

import random
import time

import pytest

from funcs.platform import supervisor
from tests.scenarios.cluster import CONFIG_MAPS, Cluster, eventually
from tests.scenarios.traffic import Load, Recorder, Until, persistently

SECONDS = 8.0
VICTIMS = (*supervisor.PARTS, "supervisor")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_was_promised_is_kept_through_any_order_of_deaths(victim: Cluster, recorder: Recorder, seed: int) -> None:
    dice = random.Random(seed)
    trigger = f"recorder-{seed}-{recorder.url.rpartition(':')[2].strip('/')}"
    victim.subscribe(trigger, recorder.url, trigger)
    before = victim.call("who").who
    sent: set[str] = set()
    gateway_deaths = 0

    def produce(number: int) -> None:
        event = f"{trigger}-{number}"
        persistently(lambda: victim.send(event, trigger), 202)
        sent.add(event)

    deadline = time.monotonic() + SECONDS
    with Load(victim, "who") as load, Until(produce):
        while time.monotonic() < deadline:
            part = dice.choice([each for each in VICTIMS if victim.lives(each)])
            gateway_deaths += part == "gateway"
            if part in ("control", "supervisor") or dice.random() < 0.5:  # these two start each other again
                victim.kill_and_await(part)
            else:
                victim.kill(part)
        eventually("all parts are back", lambda: victim.status().up, 30)
        load.until_more()
    assert len(load.failures) <= gateway_deaths * load.loops, load.failures
    assert list(load.answers) == [before], "the pod was started again"
    eventually("every acknowledged event has arrived", lambda: sent <= set(recorder.seen), 30)
    victim.create(CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": trigger}})
