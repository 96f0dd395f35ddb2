"""What must stand for one pool of runners: an account with its rights, and the runners."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from kindling.operator.containers import amounts
from kindling.operator.definitions.core import GROUP
from kindling.operator.desired import Desired
from kindling.operator.marks import marked, owner_reference
from kindling.operator.pools.model import Pool, read_pool, sanitised
from kindling.operator.pools.providers import api_url
from kindling.operator.pools.rights import agent_rules
from kindling.operator.rules import Problem

__all__ = ["MANAGER", "POOL_HASH_ANNOTATION", "Agent", "desired_pool"]

MANAGER = "cirunnerpool-operator"
"""What labels say of the children of a pool: upstream's word."""

POOL_HASH_ANNOTATION = f"{GROUP}/runner-pool-spec-hash"

Object = dict[str, Any]

_TOKEN_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
_BUILDS = "/builds"


@dataclass(frozen=True, slots=True)
class Agent:
    """The container beside each runner that builds and applies for it."""

    image: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


def desired_pool(
    manifest: Mapping[str, Any], token_keys: Collection[str] | None, agent: Agent
) -> Desired:
    """The children of a pool of either kind.

    `token_keys` are the keys of the Secret that holds its token, None when there is none; what is
    in them is not needed here. All children are in the pool's namespace and owned by it, so nothing
    outlives it. A ServiceAccount of the user's own is given the rights, and otherwise left alone.
    """
    pool = read_pool(manifest)
    if isinstance(pool, tuple):
        return Desired((), tuple(Problem(f.field, "InvalidSpec", f.message) for f in pool))
    if token_keys is None or pool.secret_key not in token_keys:
        what = f"key `{pool.secret_key}` of the Secret `{pool.secret}`"
        found = Problem("spec.tokenSecretRef", "SecretNotFound", f"there is no {what}")
        return Desired((), (found,))
    objects = [
        *([] if pool.account else [_head(pool, "v1", "ServiceAccount")]),
        _head(pool, "rbac.authorization.k8s.io/v1", "Role") | {"rules": agent_rules()},
        _binding(pool),
        _deployment(pool, agent),
    ]
    return Desired(tuple(marked(one, POOL_HASH_ANNOTATION) for one in objects))


def _labels(pool: Pool) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": pool.name,
        "app.kubernetes.io/instance": pool.name,
        "app.kubernetes.io/component": pool.provider.component,
        "app.kubernetes.io/managed-by": MANAGER,
        f"{GROUP}/{pool.provider.name}-username": sanitised(pool.user),
    }


def _head(pool: Pool, api_version: str, kind: str) -> Object:
    metadata: Object = {"name": pool.base, "namespace": pool.namespace, "labels": _labels(pool)}
    if pool.uid:
        metadata["ownerReferences"] = [owner_reference(pool.kind, pool.name, pool.uid)]
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def _binding(pool: Pool) -> Object:
    account = {
        "kind": "ServiceAccount",
        "name": pool.account or pool.base,
        "namespace": pool.namespace,
    }
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": pool.base}
    head = _head(pool, "rbac.authorization.k8s.io/v1", "RoleBinding")
    return head | {"roleRef": role, "subjects": [account]}


def _deployment(pool: Pool, agent: Agent) -> Object:
    labels = _labels(pool)
    pod: Object = {
        "serviceAccountName": pool.account or pool.base,
        # Only the agent is given the token: jobs run what a repository says.
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 30,
        "containers": [_runner(pool), _agent(agent)],
        "volumes": [{"name": "builds", "emptyDir": {}}, _token(), *map(dict, pool.volumes)],
    }
    spec = {
        "replicas": pool.replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return _head(pool, "apps/v1", "Deployment") | {"spec": spec}


def _runner(pool: Pool) -> Object:
    own = {one["name"]: dict(one) for one in pool.env}
    env = [one for one in _variables(pool) if one["name"] not in own]
    container: Object = {
        "name": "runner",
        "image": pool.image,
        "command": ["bash", "-c", pool.provider.script],
        "env": [*env, *own.values()],
        "volumeMounts": [{"name": "builds", "mountPath": _BUILDS}, *map(dict, pool.mounts)],
    }
    if asked := amounts(pool.resources):
        container["resources"] = asked
    return container


def _variables(pool: Pool) -> list[Object]:
    token = {"secretKeyRef": {"name": pool.secret, "key": pool.secret_key}}
    api, name = api_url(pool.provider, pool.url), f"{sanitised(pool.user)}-{pool.name}"
    if pool.provider.name == "github":
        plain = {
            "RUNNER_NAME_PREFIX": name,
            "RUNNER_WORKDIR": pool.work,
            "RUNNER_REPOSITORY_URL": f"{pool.url}/{pool.repository}",
            "GITHUB_API_URL": api,
            "RUNNER_REPO_SLUG": pool.repository,
            "GITHUB_USERNAME": pool.user,
            "RUNNER_LABELS": ",".join(("self-hosted", pool.user, *pool.labels)),
            **({"RUNNER_GROUP": pool.group} if pool.group else {}),
            "RUNNER_EPHEMERAL": "false",
        }
    else:
        plain = {
            "RUNNER_NAME": name,
            "RUNNER_WORKDIR": pool.work,
            "CI_SERVER_URL": pool.url,
            "GITLAB_API_URL": api,
            "GITLAB_PROJECT_PATH": pool.repository,
            "GITLAB_PROJECT_REF": quote(pool.repository, safe=""),
            "GITLAB_USERNAME": pool.user,
            "RUNNER_TAG_LIST": ",".join(("self-hosted", pool.user, *pool.labels)),
            "RUNNER_EXECUTOR": "shell",
        }
    told = [{"name": key, "value": value} for key, value in plain.items()]
    return [{"name": pool.provider.token_variable, "valueFrom": token}, *told]


def _agent(agent: Agent) -> Object:
    return {
        "name": "build-agent",
        "image": agent.image,
        "command": list(agent.command),
        "env": [{"name": key, "value": value} for key, value in sorted(agent.env.items())],
        "securityContext": {"allowPrivilegeEscalation": False},
        "volumeMounts": [
            {"name": "builds", "mountPath": _BUILDS},
            {"name": "agent-token", "mountPath": _TOKEN_FOLDER, "readOnly": True},
        ],
    }


def _token() -> Object:
    """What the kubelet would mount into every container by itself."""
    field_ref = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field_ref}]}},
    ]
    return {"name": "agent-token", "projected": {"sources": sources}}
