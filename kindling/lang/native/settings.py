"""What holds for the whole session: the cluster, contexts, limits, what is watched."""

from __future__ import annotations

from dataclasses import replace

from kindling.errors import ConfigError
from kindling.graph.node import Trigger
from kindling.lang.call import Call
from kindling.lang.declared import ClusterDeclaration, WatchIgnore
from kindling.lang.session import Native

__all__ = ["NATIVES"]

_PROVIDERS = ["auto", "context", "embedded"]
_BY_CONTEXT = ("k3d", "kind")


def cluster(
    call: Call,
    provider: object,
    name: object,
    registry: object,
    ingress: object,
    namespace: object,
) -> None:
    first = call.state.cluster
    if first.where is not None:
        raise ConfigError("`cluster` may be called once", details=[f"first at {first.where}"])
    if provider in _BY_CONTEXT:
        raise ConfigError(
            f"`cluster(provider={provider!r})`: kindling does not create {provider} clusters",
            details=[f"known: [{', '.join(_PROVIDERS)}]"],
            hint=f"Create it with {provider}; then it is the current context, and "
            '`provider="auto"` finds it.',
        )
    chosen = call.choice("provider", provider, _PROVIDERS) or "auto"
    host = registry if isinstance(registry, str) else ""
    call.state.cluster = ClusterDeclaration(
        provider=chosen,
        name=call.text("name", name),
        namespace=call.text("namespace", namespace),
        registry=bool(host) or call.flag("registry", registry),
        registry_host=str(host),
        ingress=call.flag("ingress", ingress),
        where=call.where,
    )


def allow_k8s_contexts(call: Call, contexts: object) -> None:
    names = call.texts("contexts", contexts)
    allowed = (*call.state.settings.allowed_contexts, *names)
    call.state.settings = replace(
        call.state.settings, allowed_contexts=tuple(dict.fromkeys(allowed))
    )


def k8s_context(call: Call) -> str:
    found = call.session.context()
    return found.name if found else ""


def k8s_namespace(call: Call) -> str:
    found = call.session.context()
    return call.state.cluster.namespace or (found.namespace if found else "") or "default"


def trigger_mode(call: Call, mode: object) -> None:
    call.claim("setting", "trigger_mode")
    chosen = call.trigger("mode", mode)
    if chosen is None:
        raise call.wants("mode", "TRIGGER_MODE_AUTO or TRIGGER_MODE_MANUAL", mode)
    call.state.settings = replace(call.state.settings, trigger=Trigger(chosen))


def update_settings(
    call: Call,
    max_parallel_updates: object,
    k8s_upsert_timeout_secs: object,
    suppress_unused_image_warnings: object,
    k8s_server_side_apply: object,
) -> None:
    now = call.state.settings
    if max_parallel_updates is not None:
        count = call.count("max_parallel_updates", max_parallel_updates, 1)
        now = replace(now, max_parallel_updates=count)
    if k8s_upsert_timeout_secs is not None:
        seconds = call.number("k8s_upsert_timeout_secs", k8s_upsert_timeout_secs)
        if seconds < 1:
            raise ConfigError("`update_settings(k8s_upsert_timeout_secs=)` must be at least 1")
        now = replace(now, k8s_upsert_timeout_secs=seconds)
    names = call.texts("suppress_unused_image_warnings", suppress_unused_image_warnings)
    if names:
        now = replace(now, suppress_unused_images=(*now.suppress_unused_images, *names))
    if k8s_server_side_apply is not None:
        mode = call.choice(
            "k8s_server_side_apply", k8s_server_side_apply, ["auto", "true", "false"]
        )
        now = replace(now, k8s_server_side_apply=mode or "auto")
    call.state.settings = now


def ci_settings(
    call: Call, k8s_grace_period: object, timeout: object, readiness_timeout: object
) -> None:
    ci = call.state.settings.ci
    for name, value in (
        ("k8s_grace_period", k8s_grace_period),
        ("timeout", timeout),
        ("readiness_timeout", readiness_timeout),
    ):
        if (seconds := call.duration(name, value)) is not None:
            ci = replace(ci, **{name: seconds})
    call.state.settings = replace(call.state.settings, ci=ci)


def watch_settings(call: Call, ignore: object) -> None:
    patterns = call.patterns("ignore", ignore)
    if patterns:
        rule = WatchIgnore(call.path("ignore", "."), patterns)
        now = call.state.settings
        call.state.settings = replace(now, watch_ignores=(*now.watch_ignores, rule))


def secret_settings(call: Call, disable_scrub: object) -> None:
    scrub = not call.flag("disable_scrub", disable_scrub)
    call.state.settings = replace(call.state.settings, scrub_secrets=scrub)


def version_settings(call: Call, check_updates: object, constraint: object) -> None:  # noqa: ARG001
    if constraint:
        call.notice_once(
            "version_settings", "`version_settings` speaks of Tilt's version and is ignored"
        )


NATIVES: dict[str, Native] = {
    "cluster": cluster,
    "allow_k8s_contexts": allow_k8s_contexts,
    "k8s_context": k8s_context,
    "k8s_namespace": k8s_namespace,
    "trigger_mode": trigger_mode,
    "update_settings": update_settings,
    "ci_settings": ci_settings,
    "watch_settings": watch_settings,
    "secret_settings": secret_settings,
    "version_settings": version_settings,
}
