"""Services with what they need, on a real cluster: up, changed, and gone again."""

from __future__ import annotations

import pytest

from kindling.engine.down import run_down
from kindling.engine.notices import NodeStatus
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import NotFoundError
from kindling.kube.protocol import Cluster
from kindling.testing.workbench import Collected, Running, Workbench

pytestmark = pytest.mark.cluster

NAMESPACE = """
k8s_yaml(blob('''
apiVersion: v1
kind: Namespace
metadata: {{name: {ns}}}
'''))
"""

SERVE = "trap 'exit 0' TERM; httpd -f -p {port} & wait"
"""Ends when it is told to, which a first process of a container does not by itself."""

SERVICE = """
service("shop", image = "busybox:1.36", namespace = "{ns}", port = 8080,
        command = ["sh", "-c", "{serve}"], health = tcp(), env = {{"GREETING": "{greeting}"}},
        dependencies = [{dependencies}])
"""

REDIS = """
FROM busybox:1.36
CMD ["sh", "-c", "{serve}"]
"""


def kindlingfile(ns: str, *dependencies: str, greeting: str = "hello", built: bool = True) -> str:
    """What builds nothing brings no namespace either, and gets it all the same."""
    return (
        (NAMESPACE.format(ns=ns) if built else "")
        + (f'docker_build("redis-{ns}", "redis")\n' if built else "")
        + SERVICE.format(
            ns=ns,
            serve=SERVE.format(port=8080),
            greeting=greeting,
            dependencies=", ".join(dependencies),
        )
    )


def environment(ns: str) -> ObjectRef:
    return ObjectRef("apps.example.com/v1alpha1", "DevStagingEnvironment", "shop", ns)


async def names(cluster: Cluster, api_version: str, kind: str, ns: str) -> set[str]:
    listing = await cluster.list(api_version, kind, namespace=ns)
    return {item["metadata"]["name"] for item in listing.items}


async def greeting(cluster: Cluster, ns: str) -> str:
    app = await cluster.get(ObjectRef("apps/v1", "Deployment", "shop", ns))
    (container,) = app["spec"]["template"]["spec"]["containers"]
    return str({one["name"]: one.get("value") for one in container["env"]}["GREETING"])


async def changed(up: Running, bench: Workbench, text: str) -> None:
    """Write the file, and wait until what it changes has been reconciled and serves."""
    mark = up.mark()
    bench.write("Kindlingfile", text)
    wanted = {"operator:shop", "rollout:shop"}
    await up.until(lambda: wanted <= up.since(mark).ran, seconds=120)
    await up.until(lambda: up.result.views["operator:shop"].status is NodeStatus.DONE, seconds=120)


async def test_a_service_comes_with_what_it_needs_changes_and_goes(
    bench: Workbench, cluster: Cluster, ns: str
) -> None:
    redis = f'redis(image = "redis-{ns}")'
    bench.write("redis/Dockerfile", REDIS.format(serve=SERVE.format(port=6379)))
    bench.write("Kindlingfile", kindlingfile(ns, redis))
    first = await bench.run("up")
    assert first.exit_code == 0, first.explain()
    first.assert_ran("operator:shop", "rollout:shop")
    assert await names(cluster, "apps/v1", "Deployment", ns) == {"shop", "shop-redis"}

    again = await bench.run("ci")
    assert again.exit_code == 0, again.explain()
    again.assert_only_ran()

    async with bench.up() as up:
        await up.settled("operator:shop", "rollout:shop", seconds=60)
        await changed(up, bench, kindlingfile(ns, redis, greeting="hi"))
        assert await greeting(cluster, ns) == "hi"

        await changed(up, bench, kindlingfile(ns, greeting="hi"))
        await cluster.wait_deleted(ObjectRef("apps/v1", "Deployment", "shop-redis", ns))

        bench.write("Kindlingfile", NAMESPACE.format(ns=ns))
        await cluster.wait_deleted(environment(ns), timeout=120)
        await cluster.wait_deleted(ObjectRef("apps/v1", "Deployment", "shop", ns), timeout=120)
        ended = await up.stop()
    assert ended.exit_code == 0, ended.explain()


async def test_ci_ends_with_the_reason_of_a_dependency_that_cannot_run_and_down_removes_all(
    bench: Workbench, cluster: Cluster, ns: str
) -> None:
    bench.write(
        "Kindlingfile",
        kindlingfile(ns, 'redis(image = "localhost:5000/kindling-none:1")', built=False),
    )
    failed = await bench.run("ci")
    assert failed.exit_code == 1
    failed.assert_failed("operator:shop", "shop-redis", "Image")

    down = Collected()
    assert await run_down(bench.options("down"), down, bench.environment) == 0
    with pytest.raises(NotFoundError):
        await cluster.get(environment(ns))
    assert await names(cluster, "apps/v1", "Deployment", ns) == set()
    assert await names(cluster, "v1", "Service", ns) == set()
