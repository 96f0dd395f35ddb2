"""Leader election by a Lease: one leads, another follows when the first is gone."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

pytestmark = pytest.mark.cluster


def test_one_leads_and_the_other_follows_when_it_is_gone(
    api: Any, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"lead-{uuid.uuid4().hex[:6]}"
    leads = {who: threading.Event() for who in ("one", "two")}
    gone = threading.Event()
    threads = []

    class Mortal(LeaseLock):
        """A candidate that renews nothing once it is told to be gone."""

        def update(self, name: str, namespace: str, updated_record: Any) -> bool:
            if self.identity == "one" and gone.is_set():
                return False
            return bool(super().update(name, namespace, updated_record))

    for who, started in leads.items():
        settings = electionconfig.Config(
            Mortal(name, namespace, who),
            lease_duration=3,
            renew_deadline=2,
            retry_period=1,
            onstarted_leading=lambda *_, started=started: started.set(),
            onstopped_leading=lambda: None,
        )
        run = leaderelection.LeaderElection(settings).run
        thread = threading.Thread(target=run, daemon=True, name=f"candidate {who}")
        thread.start()
        threads.append(thread)
        if who == "one":
            assert started.wait(10)
    assert not leads["two"].wait(4)  # longer than the lease: it is renewed
    leases = client.CoordinationV1Api(api)
    lease = leases.read_namespaced_lease(name, namespace)
    assert (lease.spec.holder_identity, lease.spec.lease_duration_seconds) == ("one", 3)
    assert lease.spec.renew_time.tzinfo is not None
    gone.set()
    assert leads["two"].wait(15)
    assert leases.read_namespaced_lease(name, namespace).spec.holder_identity == "two"
    leases.delete_namespaced_lease(name, namespace)
    monkeypatch.setattr(Mortal, "create", lambda *_, **__: False)
    monkeypatch.setattr(Mortal, "update", lambda *_, **__: False)
    for thread in threads:
        thread.join(10)
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
