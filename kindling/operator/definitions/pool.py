"""The definitions of the two kinds of runner pool, which differ in nothing but their name.

`GithubActionRunnerPool` is what seed manifests say, `CIRunnerPool` what upstream calls it today;
fields and limits are upstream's. Volumes are taken as they come: the server checks them when the
pool's Deployment is written, and writing out each driver of each vendor here would guard nothing.
`runnerImage` and `workDir` have no default, because the right one depends on the provider.
"""

from __future__ import annotations

from kindling.operator.definitions.core import (
    Schema,
    array,
    conditions,
    definition,
    env_vars,
    integer,
    record,
    resources,
    text,
)

__all__ = ["POOL_KINDS", "pool_definition"]

POOL_KINDS = {
    "GithubActionRunnerPool": ("githubactionrunnerpools", ("garp",)),
    "CIRunnerPool": ("cirunnerpools", ("cirp",)),
}
"""Plural and short names by kind."""


def pool_definition(kind: str) -> Schema:
    """The CustomResourceDefinition of one of `POOL_KINDS`, ready to be applied."""
    plural, short = POOL_KINDS[kind]
    root = record({"spec": _spec(), "status": _status()}, "spec")
    return definition(kind, plural, short, root, _columns())


def _columns() -> list[Schema]:
    rows = (
        ("User", "string", ".spec.githubUsername", 0),
        ("Repository", "string", ".spec.repository", 0),
        ("Replicas", "integer", ".spec.replicas", 0),
        ("Ready", "integer", ".status.readyRunners", 0),
        ("Job", "string", ".status.activeJob", 1),
        ("DevEnv", "string", ".status.devEnvironmentRef", 1),
        ("Age", "date", ".metadata.creationTimestamp", 0),
    )
    return [
        {"name": name, "type": sort, "jsonPath": path} | ({"priority": 1} if wide else {})
        for name, sort, path, wide in rows
    ]


def _spec() -> Schema:
    token = record(
        {
            "name": text("The Secret that holds the token.", minLength=1),
            "key": text("Which of its keys.", default="github-token"),
        },
        "name",
    )
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return record(
        {
            "githubUsername": text("The user at the provider, whichever it is.", minLength=1),
            "repository": text("`owner/name`, or a project's path.", minLength=1),
            "tokenSecretRef": token,
            "githubURL": text("Where the provider is.", default="https://github.com"),
            "ciProvider": text("GitHub if empty.", enum=["github", "gitlab", ""]),
            "replicas": integer(minimum=1, default=1),
            "runnerImage": text("The provider's own image if not given."),
            "labels": array(text(), description="What jobs may ask for."),
            "runnerGroup": text("The group at GitHub."),
            "resources": resources(),
            "env": env_vars("Further variables of the runner."),
            "volumes": array(
                anything | {"properties": {"name": text(minLength=1)}, "required": ["name"]}
            ),
            "volumeMounts": array(
                anything
                | {
                    "properties": {"name": text(minLength=1), "mountPath": text(minLength=1)},
                    "required": ["name", "mountPath"],
                }
            ),
            "serviceAccountName": text("One of your own instead of the one made for the pool."),
            "workDir": text("Where jobs are checked out."),
        },
        "githubUsername",
        "repository",
        "tokenSecretRef",
    )


def _status() -> Schema:
    return record(
        {
            "replicas": integer(),
            "readyRunners": integer(),
            "runnerRegistered": {"type": "boolean"},
            "activeJob": text(),
            "lastJobCompleted": text(format="date-time"),
            "devEnvironmentRef": text(),
            "observedGeneration": {"type": "integer", "format": "int64"},
            "conditions": conditions(),
        }
    )
