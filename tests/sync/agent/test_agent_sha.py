"""The agent's digests are those of hashlib, by the instructions of the processor and without."""

from __future__ import annotations

import os
import platform
from hashlib import sha256
from pathlib import Path

import pytest

from kindling.sync.agent.frames import KEEP_TIME, Arch, Data, Feature, Put, PutEnd
from tests.sync.agent.talk import Talk, serving

BY_ITSELF = ()
PORTABLE = ("--portable",)
LENGTHS = (*range(259), 511, 512, 513, 4095, 65_535, 65_536, 65_537, 1_000_003)
CUTS = (1, 63, 64, 65, 127, 128, 129, 1000)


def _has_instructions() -> bool:
    """Does this machine's processor have them, by its own word?"""
    words = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split()
    return bool({"sha_ni", "sha2"} & {*words})


def _told(talk: Talk, root: Path) -> None:
    """Files of many lengths are listed with the digests that hashlib has of them."""
    noise = os.urandom(max(LENGTHS))
    for length in LENGTHS:
        (root / f"{length}").write_bytes(noise[:length])
    wanted = {f"{length}".encode(): sha256(noise[:length]).digest() for length in LENGTHS}
    assert {path: entry.digest for path, entry in talk.tree().items()} == wanted


def _taken(talk: Talk, root: Path) -> None:
    """Contents that come in pieces of any size have the digest of the whole, or are refused."""
    content = os.urandom(5000)
    for cut in CUTS:
        ident = talk.ident()
        parts = [content[at : at + cut] for at in range(0, len(content), cut)]
        talk.send(
            Put(ident, b"in pieces", 0o644, KEEP_TIME, len(content)),
            *(Data(ident, part) for part in parts),
            PutEnd(ident, sha256(content).digest()),
        )
        assert talk.commit()[1] == []
        assert (root / "in pieces").read_bytes() == content
    ident = talk.ident()
    talk.send(
        Put(ident, b"wrong", 0o644, KEEP_TIME, len(content)),
        Data(ident, content),
        PutEnd(ident, sha256(content[:-1]).digest()),
    )
    assert [refused.what for refused in talk.commit()[1]] == ["the digest differs"]


@pytest.mark.parametrize("options", [BY_ITSELF, PORTABLE])
def test_digests_are_those_of_hashlib(binary: Path, root: Path, options: tuple[str, ...]) -> None:
    with serving(binary, root, *options) as talk:
        talk.hello()
        _told(talk, root)
        _taken(talk, root)
        assert talk.end() == (0, b"")


@pytest.mark.parametrize("options", [BY_ITSELF, PORTABLE])
def test_digests_of_the_other_architecture_are_those_of_hashlib(
    emulated: Path, root: Path, options: tuple[str, ...]
) -> None:
    with serving(emulated, root, *options) as talk:
        welcome = talk.hello()
        if welcome.arch is Arch.AARCH64:
            # The emulator has all that there is of this architecture.
            assert bool(welcome.features & Feature.HASHES) == (options == BY_ITSELF)
        _told(talk, root)
        _taken(talk, root)
        assert talk.end() == (0, b"")


@pytest.mark.skipif(
    platform.system() != "Linux" or os.environ.get("KINDLING_TEST_AGENT") == "emulated",
    reason="asks this machine's processor",
)
def test_instructions_are_used_where_the_processor_has_them(binary: Path, root: Path) -> None:
    with serving(binary, root) as talk:
        assert bool(talk.hello().features & Feature.HASHES) == _has_instructions()
    with serving(binary, root, *PORTABLE) as talk:
        assert not talk.hello().features & Feature.HASHES
