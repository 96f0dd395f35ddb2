"""A program in a pod speaks to the API server with nothing but what every pod is given."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.packages import client
from tests.clients.pods import Pods

pytestmark = pytest.mark.cluster

SCRIPT = """
import json, os, ssl, threading, urllib.error, urllib.request
folder = "/var/run/secrets/kubernetes.io/serviceaccount/"
token = open(folder + "token").read()
space = open(folder + "namespace").read()
context = ssl.create_default_context(cafile=folder + "ca.crt")
host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
roots = [f"https://{host}:{port}", "https://kubernetes.default.svc", "https://kubernetes.default"]

def ask(path, body=None, root=roots[0], bearer=token, method=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": "Bearer " + bearer, "Content-Type": "application/json"}
    request = urllib.request.Request(root + path, data, headers, method=method)
    return urllib.request.urlopen(request, context=context, timeout=20)

out = {"namespace": space, "versions": []}
for root in roots:
    out["versions"].append(json.load(ask("/version", root=root))["major"])
maps = f"/api/v1/namespaces/{space}/configmaps"
version = json.load(ask(maps))["metadata"]["resourceVersion"]
watch = ask(maps + "?watch=1&timeoutSeconds=20&resourceVersion=" + version)
made = json.load(ask(maps, {"metadata": {"name": "from-a-pod"}, "data": {"a": "1"}}))
out["manager"] = made["metadata"]["managedFields"][0]["manager"]
out["event"] = json.loads(watch.readline())["type"]
watch.close()
review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
    "spec": {"resourceAttributes": {"namespace": space, "verb": "get", "resource": "pods"}}}
path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
out["allowed"] = json.load(ask(path, review))["status"]["allowed"]
try:
    ask("/api/v1/pods", bearer=token[:-5] + "AAAAA")
except urllib.error.HTTPError as error:
    out["forged"] = error.code
print(json.dumps(out))
"""


@pytest.fixture(scope="module")
def allowed(api: Any, namespace: str) -> None:
    """Rights for the default service account, which a server that enforces them asks for."""
    client.RbacAuthorizationV1Api(api).create_namespaced_role_binding(
        namespace,
        {
            "metadata": {"name": "edits"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "edit",
            },
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
        },
    )


@pytest.mark.usefixtures("allowed")
def test_a_program_in_a_pod_reaches_the_api(
    core: Any, namespace: str, pods: Pods, python_image: str
) -> None:
    pods.make("speaks", python_image, ["python3", "-c", SCRIPT])
    phase = pods.finished("speaks").status.phase
    log = core.read_namespaced_pod_log("speaks", namespace)
    assert phase == "Succeeded", log
    assert json.loads(log) == {
        "namespace": namespace,
        "versions": ["1", "1", "1"],
        "manager": "Python-urllib",
        "event": "ADDED",
        "allowed": True,
        "forged": 401,
    }
    assert core.read_namespaced_config_map("from-a-pod", namespace).data == {"a": "1"}


def test_a_pod_that_wants_no_token_has_none(core: Any, namespace: str, pods: Pods) -> None:
    core.create_namespaced_pod(
        namespace,
        {
            "metadata": {"name": "silent"},
            "spec": {
                "automountServiceAccountToken": False,
                "restartPolicy": "Never",
                "containers": [
                    {
                        "name": "main",
                        "image": "busybox:1.36",
                        "command": ["ls", "/var/run/secrets/kubernetes.io"],
                    }
                ],
            },
        },
    )
    assert pods.finished("silent").status.phase == "Failed"
