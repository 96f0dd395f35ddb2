"""`k8s_custom_deploy`: a command of the user's applies objects and prints them.

The command's cluster is the session's target and no other: it gets a kubeconfig that knows this one
context. That file holds credentials, so it lies in `.kindling` with mode 0600 and goes with the
command.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from kindling.errors import ClusterError, ExecutionError
from kindling.executors.commands import Tail, command_failure, folder
from kindling.executors.protocol import Job
from kindling.graph.node import NodeId
from kindling.graph.outcome import Output
from kindling.graph.spec import CustomDeploySpec
from kindling.kube.contexts import read_kubeconfig
from kindling.kube.errors import NotFoundError
from kindling.kube.protocol import Cluster
from kindling.objects.compare import digest_of
from kindling.objects.identity import canonical, object_ref
from kindling.objects.yamls import decode_manifests

__all__ = ["deploy", "destroy"]


async def deploy(job: Job, spec: CustomDeploySpec, cluster: Cluster) -> Output:
    """Run the command; the objects that it printed, as the cluster holds them.

    Raises:
        ExecutionError: The command failed.
        ConfigError: It printed something that is not Kubernetes YAML.
        ClusterError: It printed an object that is not in the cluster.
    """
    text = await _run(job, cluster, spec.argv, spec.dir, {**_images(job, spec), **dict(spec.env)})
    objects = []
    for document in decode_manifests(text, "the output of the deploy command"):
        ref = object_ref(document.value, cluster.namespace)
        try:
            live = await cluster.get(ref)
        except NotFoundError as error:
            raise ClusterError(
                f"The deploy command printed {ref}, which is not in the cluster",
                hint="It must apply every object that it prints, to the cluster of its KUBECONFIG",
            ) from error
        objects.append(
            {
                "apiVersion": ref.api_version,
                "kind": ref.kind,
                "name": ref.name,
                "namespace": live["metadata"].get("namespace", ""),
                "uid": live["metadata"]["uid"],
                "digest": digest_of(live, document.value),
            }
        )
    digest = hashlib.sha256(canonical({"objects": objects}).encode()).hexdigest()
    return Output(f"sha256:{digest}", {"objects": objects})


async def destroy(
    job: Job, spec: CustomDeploySpec, cluster: Cluster, recorded: Output
) -> tuple[str, ...]:
    """Run the delete command. Without one, everything it deployed is kept.

    Raises:
        ExecutionError: The command failed.
    """
    if not spec.delete_argv:
        objects = recorded.data.get("objects", ())
        return tuple(
            f"{entry['kind']}/{entry['name']} was kept: its `k8s_custom_deploy` has no `delete_cmd`"
            for entry in objects
        )
    env = {**_images(job, spec), **dict(spec.delete_env)}
    await _run(job, cluster, spec.delete_argv, spec.delete_dir, env)
    return ()


async def _run(
    job: Job, cluster: Cluster, argv: Sequence[str], dir_: str, env: Mapping[str, str]
) -> str:
    with _kubeconfig(job, cluster) as path:
        tail = Tail(lambda line, stream="stdout": job.log(line, stream))
        result = await job.world.processes.run(
            argv,
            cwd=folder(job, dir_),
            env={**job.world.environment, **env, "KUBECONFIG": str(path)},
            log=tail,
            timeout=job.node.timeout,
        )
    if result.code:
        failure = command_failure(result.code, tail.lines, what="the deploy command ")
        raise ExecutionError(failure.summary, details=failure.details, hint=failure.hint)
    return await asyncio.to_thread(result.stdout.decode, "utf-8", "replace")


def _images(job: Job, spec: CustomDeploySpec) -> dict[str, str]:
    env: dict[str, str] = {}
    for number, injection in enumerate(spec.images):
        output = job.inputs.get(NodeId(injection.delivery))
        if output is not None:
            reference = output.data.get("reference") or output.data.get("local") or ""
            env[f"TILT_IMAGE_{number}"] = str(reference)
            env[f"TILT_IMAGE_MAP_{number}"] = injection.ref
    return env


@contextmanager
def _kubeconfig(job: Job, cluster: Cluster) -> Iterator[Path]:
    document = read_kubeconfig(job.world.environment).minified(cluster.context)
    path = job.world.state_dir / f"kubeconfig-{uuid.uuid4().hex}.yaml"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yaml.safe_dump(document, file)
        yield path
    finally:
        path.unlink(missing_ok=True)
