"""Leader election by a Lease: one leads, another follows when the first is gone."""

from __future__ import annotations

import threading
import uuid
from importlib import import_module
from typing import Any

import pytest

from tests.clients.packages import ApiException, client

pytestmark = pytest.mark.cluster


def test_one_leads_and_the_other_follows_when_it_is_gone(
    api: Any, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"lead-{uuid.uuid4().hex[:6]}"
    elections: Any = import_module("kubernetes.leaderelection.leaderelection")
    settings: Any = import_module("kubernetes.leaderelection.electionconfig")
    lock: Any = import_module("kubernetes.leaderelection.resourcelock.leaselock").LeaseLock
    gone: set[str] = set()
    write = lock.update

    def update(candidate: Any, *arguments: Any, **named: Any) -> bool:
        """Renew the lease, unless this candidate is meant to be gone."""
        return candidate.identity not in gone and bool(write(candidate, *arguments, **named))

    monkeypatch.setattr(lock, "update", update)

    def stand(who: str) -> tuple[threading.Event, threading.Thread]:
        leads = threading.Event()
        config = settings.Config(
            lock(name, namespace, who),
            lease_duration=3,
            renew_deadline=2,
            retry_period=1,
            onstarted_leading=lambda *_: leads.set(),
            onstopped_leading=lambda: None,
        )
        run = elections.LeaderElection(config).run
        thread = threading.Thread(target=run, daemon=True, name=f"candidate {who}")
        thread.start()
        return leads, thread

    leases = client.CoordinationV1Api(api)
    one, first = stand("one")
    assert one.wait(10)
    two, second = stand("two")
    assert not two.wait(4)  # longer than the lease: it is renewed
    lease = leases.read_namespaced_lease(name, namespace)
    assert (lease.spec.holder_identity, lease.spec.lease_duration_seconds) == ("one", 3)
    assert lease.spec.renew_time.tzinfo is not None
    gone.add("one")
    assert two.wait(15)
    assert leases.read_namespaced_lease(name, namespace).spec.holder_identity == "two"
    gone.add("two")
    for thread in (first, second):
        thread.join(15)
        assert not thread.is_alive()


def test_of_two_who_take_a_lease_at_once_one_is_refused(api: Any, namespace: str) -> None:
    leases = client.CoordinationV1Api(api)
    name = f"both-{uuid.uuid4().hex[:6]}"
    leases.create_namespaced_lease(namespace, {"metadata": {"name": name}, "spec": {}})
    read = leases.read_namespaced_lease(name, namespace)
    outcomes: list[int] = []
    together = threading.Barrier(8)

    def take(who: str) -> None:
        body = {
            "metadata": {"name": name, "resourceVersion": read.metadata.resource_version},
            "spec": {"holderIdentity": who, "renewTime": "2026-01-01T00:00:00.123456Z"},
        }
        together.wait()
        try:
            leases.replace_namespaced_lease(name, namespace, body)
        except ApiException as error:
            outcomes.append(error.status or 0)
        else:
            outcomes.append(200)

    threads = [threading.Thread(target=take, args=(str(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(outcomes) == [200] + [409] * 7
    left = leases.read_namespaced_lease(name, namespace)
    assert left.spec.renew_time.microsecond == 123456
