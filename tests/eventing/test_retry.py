"""Which answers are tried again, and when."""

from __future__ import annotations

import pytest

from funcs.api.delivery import Delivery
from runtimes.eventing.retry import LONGEST_PAUSE, Policy, is_retried, pause, policy_for, retry_after


@pytest.mark.parametrize("status", [None, 404, 408, 409, 429, 500, 502, 503, 599])
def test_these_are_tried_again(status: int | None) -> None:
    assert is_retried(status)


@pytest.mark.parametrize("status", [100, 300, 301, 400, 401, 403, 405, 410, 413, 422, 451])
def test_these_are_final(status: int) -> None:
    assert not is_retried(status)


@pytest.mark.parametrize(
    ("policy", "pauses"),
    [
        pytest.param(Policy(backoff="exponential", delay=0.2), [0.2, 0.4, 0.8, 1.6], id="exponential doubles"),
        pytest.param(Policy(backoff="linear", delay=1.0), [0.0, 1.0, 2.0, 3.0], id="linear starts at once"),
        pytest.param(Policy(delay=1.0), [0.0, 0.0, 0.0, 0.0], id="no policy, no wait"),
        pytest.param(Policy(backoff="linear"), [0.0, 0.0, 0.0, 0.0], id="no delay, no wait"),
    ],
)
def test_backoff(policy: Policy, pauses: list[float]) -> None:
    assert [pause(policy, attempt) for attempt in range(4)] == pauses


def test_no_pause_is_longer_than_a_day() -> None:
    assert pause(Policy(backoff="exponential", delay=1.0), 1000) == LONGEST_PAUSE


@pytest.mark.parametrize(
    ("most", "status", "wait"),
    [
        pytest.param(None, 503, 1.0, id="ignored unless asked for"),
        pytest.param(60.0, 503, 30.0, id="honoured on 503"),
        pytest.param(60.0, 429, 30.0, id="honoured on 429"),
        pytest.param(60.0, 500, 1.0, id="ignored on 500"),
        pytest.param(10.0, 503, 10.0, id="up to the maximum"),
        pytest.param(0.0, 503, 1.0, id="PT0S ignores it"),
    ],
)
def test_retry_after(most: float | None, status: int, wait: float) -> None:
    policy = Policy(backoff="exponential", delay=1.0, retry_after_max=most)
    assert pause(policy, 0, status, 30.0) == wait


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("120", 120.0), ("Sat, 21 Nov 2026 00:01:00 GMT", 60.0), ("Sat, 21 Nov 2020 00:01:00 GMT", 0.0), ("soon", None),
     ("", None), ("-5", None), ("٣", None)],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(header: str, seconds: float | None) -> None:
    assert retry_after(header, 1_795_219_200.0) == seconds


def test_a_triggers_delivery_replaces_its_brokers_wholly() -> None:
    broker = Delivery(retry=10, backoff_policy="exponential", backoff_delay="PT0.2S")
    assert policy_for(None, broker) == Policy(retries=10, backoff="exponential", delay=0.2)
    assert policy_for(Delivery(retry=2), broker) == Policy(retries=2)
    assert policy_for(None, None) == Policy()
