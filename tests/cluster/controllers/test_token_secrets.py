"""Secrets that hold a service account's token."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kindling.cluster.controllers.kinds import SECRETS, SERVICE_ACCOUNTS
from kindling.cluster.controllers.manager import Controllers
from tests.cluster.controllers.bed import Bed, bed_in, on_memory_disk

TYPE = "kubernetes.io/service-account-token"


class Issuer:
    """Tokens that say what they were asked for."""

    def __init__(self) -> None:
        self.issued = 0

    def issue(self, namespace: str, service_account: str, **asked: Any) -> str:
        self.issued += 1
        name, _uid = asked["secret"]
        return f"{namespace}/{service_account}/{asked['uid']}/{name}"


@pytest.fixture
async def bed() -> AsyncIterator[Bed]:
    with tempfile.TemporaryDirectory(dir=on_memory_disk()) as folder:
        async with bed_in(Path(folder), node=False) as made:
            await made.stop_controllers()
            made.controllers = Controllers(
                made.api, clock=made.clock, authority="PEM", tokens=Issuer()
            )
            made.start_controllers()
            await made.settle()
            yield made


def secret(account: str = "default", **annotations: str) -> dict[str, Any]:
    named = {"kubernetes.io/service-account.name": account, **annotations}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "held", "namespace": "default", "annotations": named},
        "type": TYPE,
    }


async def test_a_secret_is_filled_once_and_says_whose_it_is(bed: Bed) -> None:
    await bed.create(SECRETS, secret())
    filled = bed.get(SECRETS, "held")
    uid = bed.get(SERVICE_ACCOUNTS, "default")["metadata"]["uid"]
    data = {name: base64.b64decode(value).decode() for name, value in filled["data"].items()}
    assert data == {
        "ca.crt": "PEM",
        "namespace": "default",
        "token": f"default/default/{uid}/held",
    }
    assert filled["metadata"]["annotations"]["kubernetes.io/service-account.uid"] == uid
    await bed.patch(SECRETS, "held", {"metadata": {"labels": {"a": "b"}}})
    assert bed.get(SECRETS, "held")["data"] == filled["data"]


async def test_a_token_that_is_taken_out_is_made_again(bed: Bed) -> None:
    await bed.create(SECRETS, secret())
    await bed.patch(SECRETS, "held", {"data": {"token": None}})
    assert bed.get(SECRETS, "held")["data"]["token"]


@pytest.mark.parametrize(
    "annotations", [{"account": "absent"}, {"kubernetes.io/service-account.uid": "another"}]
)
async def test_a_secret_of_an_account_that_is_not_there_goes(
    bed: Bed, annotations: dict[str, str]
) -> None:
    await bed.create(SECRETS, secret(**annotations))
    assert bed.api.get(SECRETS, "held", "default") is None


async def test_a_secret_goes_with_its_account(bed: Bed) -> None:
    account = {"metadata": {"name": "brief", "namespace": "default"}}
    await bed.create(SERVICE_ACCOUNTS, account)
    await bed.create(SECRETS, secret("brief"))
    await bed.delete(SERVICE_ACCOUNTS, "brief")
    assert bed.api.get(SECRETS, "held", "default") is None


async def test_other_secrets_are_left_alone(bed: Bed) -> None:
    await bed.create(SECRETS, secret("absent") | {"type": "Opaque"})
    assert "data" not in bed.get(SECRETS, "held")
