"""The claims about the Custom Event Bus detect repetitions, missing deliveries and disorder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from dynamo_outbox import Event, EventBridgePublisher
from dynamo_outbox.testing.clients import loopback_client

from .buses import CustomBus
from .world import COUNTED

if TYPE_CHECKING:
    from dynamo_outbox.testing import MiniStack

CLAIMS = ("within", "later", "order")


class Engine:
    """The part of an engine that the bus needs."""

    region = "eu-west-1"


def applied(number: int, **changes: Any) -> Event:
    data = {"entity": "x", "of": f"e{number}", "sequence": number}
    known: dict[str, Any] = {"id": f"f{number}", "source": "proof", "aggregate_type": "Counter", "aggregate_id": "x"}
    return Event(COUNTED, data, **(known | changes))


FIRST, SECOND = applied(1), applied(2)
AGAIN = applied(1, aggregate_id="y")
"""The first event in another group, where the bus does not recognise it."""


@pytest.mark.parametrize(
    ("sent", "later", "found"),
    [
        pytest.param([FIRST, FIRST, SECOND], [FIRST, SECOND], {}, id="as it should be"),
        pytest.param([FIRST, SECOND, AGAIN], [FIRST, SECOND], {"within": (0, 1)}, id="delivered twice"),
        pytest.param([FIRST, SECOND], [SECOND], {"later": (1, 0)}, id="not delivered again"),
        pytest.param([SECOND, FIRST], [FIRST, SECOND], {"order": (0, 1)}, id="out of order"),
    ],
)
def test_each_claim_is_found_broken(sent: list[Event], later: list[Event], found: dict[str, tuple[int, int]]) -> None:
    """A repetition within five minutes, an event that is not delivered again, and disorder break their own claims."""
    with CustomBus(cast("MiniStack", Engine())) as bus:
        bus.calls(lambda _: None)
        publisher = EventBridgePublisher(
            bus.name, client=loopback_client("eventbridgev2", bus.url, region=Engine.region)
        )
        for event in sent:
            publisher.publish([event])
        assert bus.forgets()
        for event in later:
            publisher.publish([event])
        rows = dict(zip(CLAIMS, bus.rows("none"), strict=True))
    assert {claim: (row.lost, row.twice) for claim, row in rows.items() if row.lost or row.twice} == found
