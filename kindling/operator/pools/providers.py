"""What differs between the services that runners work for.

Names of variables are upstream's (kindling-sh/kindling, its pool controller), so that start-up
scripts in images of users' own find what they expect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from kindling.operator.pools.scripts import GITHUB_SCRIPT, GITLAB_SCRIPT

__all__ = ["PROVIDERS", "Provider", "api_url"]


@dataclass(frozen=True, slots=True)
class Provider:
    """One service. `repository` is what its repositories' names match, `shape` that in words."""

    name: str
    url: str
    image: str
    work: str
    component: str
    token_variable: str
    script: str
    repository: str
    shape: str


_GITHUB = Provider(
    name="github",
    url="https://github.com",
    image="ghcr.io/actions/actions-runner:2.320.0",
    work="/home/runner/_work",
    component="github-actions-runner",
    token_variable="GITHUB_PAT",
    script=GITHUB_SCRIPT,
    repository=r"[\w.-]+/[\w.-]+",
    shape="`owner/name`",
)

_GITLAB = Provider(
    name="gitlab",
    url="https://gitlab.com",
    image="gitlab/gitlab-runner:v17.5.0",
    work="/builds",
    component="gitlab-ci-runner",
    token_variable="GITLAB_PAT",
    script=GITLAB_SCRIPT,
    repository=r"[\w.-]+(/[\w.-]+)+",
    shape="`group/name`",
)

PROVIDERS: Mapping[str, Provider] = MappingProxyType({"github": _GITHUB, "gitlab": _GITLAB})


def api_url(provider: Provider, url: str) -> str:
    """Where the API is: github.com has a host for it, a GitHub of one's own and GitLab a path."""
    base = url.rstrip("/")
    if provider.name == "gitlab":
        return f"{base}/api/v4"
    return "https://api.github.com" if base == "https://github.com" else f"{base}/api/v3"
