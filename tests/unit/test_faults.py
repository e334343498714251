"""Random fault plans."""

from __future__ import annotations

from collections import Counter

import pytest

from dynamo_outbox.testing import random_faults
from dynamo_outbox.testing.faults import FAULTS, PUT_EVENTS_CODES


def test_a_seed_gives_each_request_the_same_fault_again() -> None:
    """A plan depends only on the seed, the operation and the request's number."""
    requests = [(operation, count) for operation in ("PutItem", "PutEvents", "GetRecords") for count in range(200)]
    first, again, other = random_faults(7, 0.3), random_faults(7, 0.3), random_faults(8, 0.3)
    plan = [first(*request) for request in requests]
    assert [again(*request) for request in reversed(requests)] == plan[::-1]
    assert [other(*request) for request in requests] != plan


def test_each_operation_has_chances_of_its_own() -> None:
    """Faults of one operation are independent of those of another."""
    plan = random_faults(7, 0.5)
    puts, updates = ([plan(operation, count) is None for count in range(50)] for operation in ("PutItem", "UpdateItem"))
    assert puts != updates


@pytest.mark.parametrize(("rate", "least", "most"), [(0.0, 0, 0), (0.25, 400, 600), (1.0, 2000, 2000)])
def test_the_rate_is_the_share_of_requests_with_a_fault(rate: float, least: int, most: int) -> None:
    """The rate is the share of requests with a fault: with 0 none has one, with 1 each."""
    plan = random_faults(1, rate)
    assert least <= sum(plan("PutItem", count) is not None for count in range(2000)) <= most


@pytest.mark.parametrize("operation", FAULTS)
def test_every_fault_of_an_operation_is_met_sooner_or_later(operation: str) -> None:
    """Each fault of an operation's table occurs."""
    plan = random_faults(1, 1.0)
    assert {plan(operation, count) for count in range(2000)} == set(FAULTS[operation])


def test_only_fitting_faults_are_met() -> None:
    """Only transactions are cancelled, and entries fail only in PutEvents, with each documented code."""
    plan = random_faults(1, 1.0)
    met = {operation: [plan(operation, count) for count in range(2000)] for operation in (*FAULTS, "ReceiveMessage")}
    failing = {name for name, faults in met.items() if any(fault and fault.failed_entries for fault in faults)}
    cancelling = {
        name for name, faults in met.items() if any(fault and fault.error and fault.error.reason for fault in faults)
    }
    assert (failing, cancelling) == ({"PutEvents"}, {"TransactWriteItems"})
    codes = Counter(code for fault in met["PutEvents"] if fault for _, code in fault.failed_entries)
    assert set(codes) == set(PUT_EVENTS_CODES)


@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_a_rate_is_a_share(rate: float) -> None:
    """A rate below 0 or above 1 is refused."""
    with pytest.raises(ValueError, match=f"rate={rate}"):
        random_faults(1, rate)
