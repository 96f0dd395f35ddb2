"""Image references: what people write, and the full form that everything is stored under.

The grammar and the normal form are those of github.com/distribution/reference (Apache-2.0), which
Docker, containerd and the kubelet share; they are restated here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from kindling.cluster.images.protocol import PullError

__all__ = ["Reference", "is_image_id", "parse_reference", "valid_repository", "valid_tag"]

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_PATH = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
)
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}")
_ID = re.compile(r"(?:sha256:)?[a-f0-9]{64}")
_MOST = 255
"""The longest repository name, in characters."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A full reference: `docker.io/library/busybox:1.36`, with a digest or not."""

    host: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def repository(self) -> str:
        """`docker.io/library/busybox`."""
        return f"{self.host}/{self.path}"

    @property
    def familiar(self) -> str:
        """The repository as Docker shows it: `busybox`."""
        if self.host != "docker.io":
            return self.repository
        short = self.path.removeprefix("library/")
        if "/" not in short:
            return short
        # Without its host, `docker.io/a.b/c` would be on the host `a.b`.
        return self.path if _split_host(self.path)[0] == "docker.io" else self.repository

    def with_digest(self, digest: str) -> Reference:
        """The same repository by digest alone."""
        return replace(self, tag="", digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.repository}{tag}{digest}"


def is_image_id(text: str) -> bool:
    """Whether this is the whole id of an image, with or without `sha256:`."""
    return _ID.fullmatch(text) is not None


def valid_repository(path: str) -> bool:
    """Whether a registry can have a repository of this name."""
    return len(path) <= _MOST and _PATH.fullmatch(path) is not None


def valid_tag(tag: str) -> bool:
    return _TAG.fullmatch(tag) is not None


def parse_reference(text: str) -> Reference:
    """The full reference of what someone wrote; `latest` where neither tag nor digest stands.

    Raises:
        PullError: `InvalidImageName`, in the kubelet's words.
    """
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _invalid(text, "invalid reference format")
    host, path = _split_host(rest)
    tag = ""
    if ":" in path:
        path, _, tag = path.rpartition(":")
        if not _TAG.fullmatch(tag):
            raise _invalid(text, "invalid reference format")
    if not at and _ID.fullmatch(rest):
        raise _invalid(
            text,
            f"invalid repository name ({rest}), cannot specify 64-byte hexadecimal strings",
        )
    if path != path.lower() and _PATH.fullmatch(path.lower()):
        raise _invalid(
            text, f"invalid reference format: repository name ({path}) must be lowercase"
        )
    if not _HOST.fullmatch(host) or not _PATH.fullmatch(path):
        raise _invalid(text, "invalid reference format")
    if len(f"{host}/{path}") > _MOST:
        raise _invalid(text, f"repository name must not be more than {_MOST} characters")
    if not tag and not digest:
        tag = "latest"
    return Reference(host, path, tag, digest)


def _split_host(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if not slash or not (
        "." in first or ":" in first or first == "localhost" or first != first.lower()
    ):
        host, path = "docker.io", text
    else:
        host, path = first, rest
    if host == "index.docker.io":
        host = "docker.io"
    if host == "docker.io" and "/" not in path:
        path = f"library/{path}"
    return host, path


def _invalid(text: str, why: str) -> PullError:
    return PullError(
        f'Failed to apply default image tag "{text}": couldn\'t parse image name "{text}": {why}',
        "InvalidImageName",
    )
