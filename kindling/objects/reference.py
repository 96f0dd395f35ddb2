"""Image references: what a name such as `nginx` or `ghcr.io/acme/api:1.2` means.

The grammar and the short forms are those of Docker and of the OCI distribution specification: a
name without a registry belongs to `docker.io`, one without a slash to `docker.io/library`. Whether
a built image stands for a name in a manifest follows Tilt: names must be equal, and the tag counts
only where the build declares one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from kindling.errors import ConfigError

__all__ = [
    "TAG_PREFIX",
    "Reference",
    "RegistryName",
    "check_registry_host",
    "content_tag",
    "local_reference",
    "matches",
    "normalize",
    "parse_reference",
    "registry_name",
]

TAG_PREFIX = "kindling-"
"""What every tag of ours begins with; the first 16 hexadecimal digits of the image id follow."""

_DEFAULT_DOMAIN = "docker.io"
_DEFAULT_PATH = "library/"
_MAX_NAME = 255

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_DOMAIN_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
_BARE_ID = re.compile(r"[0-9a-f]{64}")
_ESCAPED = re.compile(r"[/:@]")


@dataclass(frozen=True, slots=True)
class Reference:
    """An image reference with nothing left unsaid: `nginx` is `docker.io` and `library/nginx`.

    `tag` and `digest` are empty where the text had none; no `latest` is added.
    """

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """Registry and path, without tag and digest."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The name as people write it: `nginx` rather than `docker.io/library/nginx`."""
        if self.domain != _DEFAULT_DOMAIN:
            return self.name
        rest = self.path.removeprefix(_DEFAULT_PATH)
        short = rest if "/" not in rest else self.path
        # A user of Docker Hub whose name has a dot would be taken for a registry.
        return short if _split_domain(short)[0] == _DEFAULT_DOMAIN else self.name

    @property
    def familiar(self) -> str:
        """The whole reference as people write it."""
        return self.familiar_name + self._suffix()

    def __str__(self) -> str:
        return self.name + self._suffix()

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse_reference(text: str) -> Reference:
    """Read an image reference.

    Raises:
        ConfigError: It is none; the message says which part is wrong.
    """
    if not text:
        raise ConfigError("An image reference is empty")
    if text != text.strip() or any(c.isspace() for c in text):
        raise _refuse(text, "it holds white space")
    if "://" in text:
        bare = text.partition("://")[2]
        raise _refuse(text, "it is named without a scheme", f"Write `{bare}`.")
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _refuse(
            text,
            f"`{digest}` is not a digest",
            "A digest looks like `sha256:` and 64 hexadecimal digits.",
        )
    last = rest.rfind("/")
    colon = rest.rfind(":")
    tag = ""
    if colon > last:
        rest, tag = rest[:colon], rest[colon + 1 :]
        if not _TAG.fullmatch(tag):
            raise _refuse(
                text,
                f"`{tag}` is not a tag",
                "A tag is up to 128 letters, digits, `_`, `.` and `-`, none of the last two first.",
            )
    domain, path = _split_domain(rest)
    if not _DOMAIN.fullmatch(domain):
        raise _refuse(text, f"`{domain}` is not the name of a registry")
    if not _PATH.fullmatch(path):
        if _PATH.fullmatch(path.lower()):
            raise _refuse(
                text, "names are lower case", f"Did you mean `{text.replace(path, path.lower())}`?"
            )
        raise _refuse(text, f"`{path}` is not an image name")
    if _BARE_ID.fullmatch(rest):
        raise _refuse(text, "a bare image id is not a name")
    if len(domain) + 1 + len(path) > _MAX_NAME:
        raise _refuse(text, f"its name is longer than {_MAX_NAME} characters")
    return Reference(domain, path, tag, digest)


def _split_domain(rest: str) -> tuple[str, str]:
    first, slash, remainder = rest.partition("/")
    is_domain = slash and (
        "." in first or ":" in first or first == "localhost" or first != first.lower()
    )
    domain, path = (first, remainder) if is_domain else (_DEFAULT_DOMAIN, rest)
    if domain == "index.docker.io":
        domain = _DEFAULT_DOMAIN
    if domain == _DEFAULT_DOMAIN and path and "/" not in path:
        path = _DEFAULT_PATH + path
    return domain, path


def _refuse(text: str, why: str, hint: str = "") -> ConfigError:
    return ConfigError(f"`{text}` is not an image reference: {why}", hint=hint)


def normalize(text: str) -> str:
    """The reference with nothing left unsaid, as text: `nginx:1` is `docker.io/library/nginx:1`.

    Raises:
        ConfigError: It is not a reference.
    """
    return str(parse_reference(text))


def matches(declared: Reference, found: Reference) -> bool:
    """Whether the image declared under `declared` is meant by `found`, a reference in a manifest.

    Names must be equal. A declared tag must be equal too (no tag means `latest` on either side);
    without one, any tag of `found` will do. A declared digest must be equal as it stands.
    """
    if declared.name != found.name:
        return False
    if declared.digest:
        return declared.digest == found.digest
    return not declared.tag or (declared.tag == (found.tag or "latest") and not found.digest)


def content_tag(image_id: str) -> str:
    """The tag that names an image by its content. `image_id` is `sha256:` and hex digits."""
    digits = image_id.rpartition(":")[2]
    if len(digits) < 16 or not all(c in "0123456789abcdef" for c in digits):
        raise ValueError(f"not an image id: {image_id!r}")
    return TAG_PREFIX + digits[:16]


def local_reference(ref: str, image_id: str) -> str:
    """The name and content tag of a built image in the engine: `api:kindling-0123456789abcdef`.

    Raises:
        ConfigError: `ref` is not a reference.
    """
    return f"{parse_reference(ref).familiar_name}:{content_tag(image_id)}"


@dataclass(frozen=True, slots=True)
class RegistryName:
    """How one image is called in a registry: by us who push it, and by the nodes that pull it.

    `tag_prefix` goes before the tag where all images share one repository.
    """

    push: str
    pull: str
    tag_prefix: str = ""

    def pushed(self, tag: str) -> str:
        """The reference to push to."""
        return f"{self.push}:{self._tag(tag)}"

    def pulled(self, tag: str) -> str:
        """The reference that goes into manifests."""
        return f"{self.pull}:{self._tag(tag)}"

    def _tag(self, tag: str) -> str:
        # A tag has 128 characters at most; the end of the whole is what tells images apart.
        room = 128 - len(tag)
        return self.tag_prefix[-room:].lstrip(".-") + tag if self.tag_prefix else tag


def registry_name(
    ref: str, host: str, host_from_cluster: str = "", single_name: str = ""
) -> RegistryName:
    """The names of the image `ref` in the registry `host` (which may carry a path).

    As Tilt: the whole name with `/`, `:` and `@` made `_` becomes one part below the host; a name
    that already lies in the registry stays; with `single_name` every image goes to that one
    repository and its own name into the tag.

    Raises:
        ConfigError: `ref` or `host` is not valid.
    """
    check_registry_host(host)
    if host_from_cluster:
        check_registry_host(host_from_cluster)
    name = parse_reference(ref).familiar_name
    pull_host = host_from_cluster or host
    prefix = ""
    if name.startswith((f"{host}/", f"{pull_host}/")):
        own = host if name.startswith(f"{host}/") else pull_host
        below = name.removeprefix(f"{own}/")
    elif single_name:
        below = single_name
        prefix = _ESCAPED.sub("_", name) + "-"
    else:
        below = _ESCAPED.sub("_", name)
    return RegistryName(f"{host}/{below}", f"{pull_host}/{below}", prefix)


def check_registry_host(host: str) -> None:
    """Refuse a registry that no image name could begin with.

    Raises:
        ConfigError: Such as `http://localhost:5000` or `Registry`.
    """
    if "://" in host:
        bare = host.partition("://")[2].rstrip("/")
        raise ConfigError(
            f"`{host}` is not a registry: it is named without a scheme", hint=f"Write `{bare}`."
        )
    domain, slash, path = host.partition("/")
    if not _DOMAIN.fullmatch(domain) or (slash and not _PATH.fullmatch(path)):
        raise ConfigError(
            f"`{host}` is not a registry",
            hint="A registry is written like `localhost:5000` or `ghcr.io/acme`.",
        )
