"""Our tables of a real server's objects are that server's own tables of them."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from kubernetes import client, config

from kindling.cluster.apiserver.printing.table import Printers
from kindling.cluster.model.resource import BUILTIN, ResourceType

pytestmark = pytest.mark.cluster

OLDER = {
    "batch/v1 cronjobs": "batch/v1beta1",
    "policy/v1 poddisruptionbudgets": "policy/v1beta1",
    "autoscaling/v2 horizontalpodautoscalers": "autoscaling/v2beta2",
    "discovery.k8s.io/v1 endpointslices": "discovery.k8s.io/v1beta1",
}
"""Where the server of 1.20 has another version of what looks the same."""
QUESTIONS = {row.plural for row in BUILTIN.values() if "list" not in row.verbs}
KINDS = [row for row in BUILTIN.values() if row.plural not in QUESTIONS]


class Server:
    """The cluster of KUBECONFIG, and a namespace in it."""

    def __init__(self, api: client.ApiClient) -> None:
        self.api = api
        self.namespace = f"tables-{uuid.uuid4().hex[:8]}"
        self.made: list[str] = []

    def request(
        self, method: str, path: str, body: Any = None, accept: str = "application/json"
    ) -> tuple[int, Any, float]:
        """Status, JSON, and the server's time in seconds since the epoch."""
        answer = self.api.rest_client.pool_manager.request(
            method,
            self.api.configuration.host + path,
            body=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json", "accept": accept},
        )
        moment = parsedate_to_datetime(answer.headers["date"]).timestamp()
        return answer.status, json.loads(answer.data), moment

    def create(
        self, api_version: str, plural: str, obj: dict[str, Any], *, far: bool = False
    ) -> None:
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        place = "" if far else f"/namespaces/{self.namespace}"
        path = f"{root}{place}/{plural}"
        if far:
            obj["metadata"]["name"] += f"-{self.namespace}"
            self.made.append(f"{path}/{obj['metadata']['name']}")
        status, answer, _ = self.request("POST", path, obj)
        assert status == 201, answer

    def table(self, resource: ResourceType) -> tuple[dict[str, Any], float]:
        key = f"{resource.api_version} {resource.plural}"
        version = OLDER.get(key, resource.api_version)
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        path = f"{root}/{resource.plural}?includeObject=Object"
        accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
        status, answer, moment = self.request("GET", path, accept=accept)
        assert status == 200, answer
        return answer, moment


def meta(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name} | more}


def fill(server: Server) -> None:
    """Something of every kind that a table is worth comparing for."""
    labels = {"app": "web"}
    container = {"name": "c", "image": "busybox:1.36", "command": ["sleep", "1000"]}
    second = container | {"name": "d"}
    pods = {"metadata": {"labels": labels}, "spec": {"containers": [container, second]}}
    once = {"spec": {"restartPolicy": "Never", "containers": [container | {"command": ["true"]}]}}
    workload = {"replicas": 0, "selector": {"matchLabels": labels}, "template": pods}
    create = server.create
    spread = {"nodeSelector": {"nowhere": "x"}, "containers": [container]}
    create("v1", "pods", meta("done") | {"spec": once["spec"]})
    create("v1", "pods", meta("far") | {"spec": spread})
    failing = container | {"command": ["false"]}
    create("v1", "pods", meta("failing") | {"spec": {"containers": [failing, second]}})
    init = {"initContainers": [failing | {"name": "i"}], "containers": [container]}
    create("v1", "pods", meta("init") | {"spec": init})
    gates = {"containers": [container], "readinessGates": [{"conditionType": "x.y/z"}]}
    create("v1", "pods", meta("gated") | {"spec": gates})
    for kind in ("deployments", "replicasets"):
        create("apps/v1", kind, meta("web") | {"spec": workload})
    create("apps/v1", "statefulsets", meta("db") | {"spec": workload | {"serviceName": "db"}})
    ds = {"selector": {"matchLabels": labels}, "template": pods}
    elsewhere = {"metadata": {"labels": labels}, "spec": spread}
    create("apps/v1", "daemonsets", meta("ds") | {"spec": ds | {"template": elsewhere}})
    create(
        "v1",
        "replicationcontrollers",
        meta("rc") | {"spec": {"replicas": 0, "selector": labels, "template": pods}},
    )
    create("v1", "podtemplates", meta("pt") | {"template": pods})
    create("batch/v1", "jobs", meta("job") | {"spec": {"template": once, "completions": 2}})
    many = {"template": once, "parallelism": 3}
    create("batch/v1", "jobs", meta("many") | {"spec": many})
    cron = {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": {"template": once}}}
    create("batch/v1beta1", "cronjobs", meta("cron") | {"spec": cron})
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 53, "protocol": "UDP"}]
    for name, spec in {
        "plain": {"ports": ports, "selector": labels},
        "headless": {"clusterIP": "None", "selector": labels},
        "node": {"type": "NodePort", "ports": ports, "externalIPs": ["192.0.2.1"]},
        "balanced": {"type": "LoadBalancer", "ports": ports[:1]},
        "named": {"type": "ExternalName", "externalName": "example.com"},
    }.items():
        create("v1", "services", meta(name) | {"spec": spec})
    addresses = [{"ip": f"192.0.2.{n}"} for n in range(1, 5)]
    create(
        "v1",
        "endpoints",
        meta("by-hand") | {"subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]},
    )
    create("v1", "endpoints", meta("portless") | {"subsets": [{"addresses": addresses[:2]}]})
    create("v1", "endpoints", meta("none"))
    backend = {"service": {"name": "plain", "port": {"number": 80}}}
    http = {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}
    rules = [{"host": f"h{n}.localhost", "http": http} for n in range(5)]
    for name, chosen in {
        "one": {"rules": rules[:1], "ingressClassName": "x"},
        "three": {"rules": rules[:3]},
        "many": {"rules": rules, "tls": [{"hosts": ["h0.localhost"]}]},
        "default": {"defaultBackend": backend},
    }.items():
        create("networking.k8s.io/v1", "ingresses", meta(name) | {"spec": chosen})
    parameters = {"kind": "K", "apiGroup": "g.example", "name": "n"}
    ingress_class = {"spec": {"controller": "x.example/y", "parameters": parameters}}
    create("networking.k8s.io/v1", "ingressclasses", meta("c") | ingress_class, far=True)
    create("networking.k8s.io/v1", "networkpolicies", meta("all") | {"spec": {"podSelector": {}}})
    selector = {"matchExpressions": [
        {"key": "a", "operator": "In", "values": ["y", "x"]},
        {"key": "b", "operator": "NotIn", "values": ["z"]},
        {"key": "c", "operator": "Exists"},
        {"key": "d", "operator": "DoesNotExist"},
    ]}  # fmt: skip
    create(
        "networking.k8s.io/v1",
        "networkpolicies",
        meta("some") | {"spec": {"podSelector": selector}},
    )
    budget = {"selector": {"matchLabels": labels}, "minAvailable": "50%"}
    create("policy/v1beta1", "poddisruptionbudgets", meta("pdb") | {"spec": budget})
    metric = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
    hpa = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "maxReplicas": 3,
        "metrics": [{"type": "Resource", "resource": metric}],
    }
    create("autoscaling/v2beta2", "horizontalpodautoscalers", meta("hpa") | {"spec": hpa})
    hard = {"pods": "50", "limits.cpu": "20", "requests.cpu": "10"}
    create("v1", "limitranges", meta("lr") | {"spec": {"limits": []}})
    create("v1", "secrets", meta("s") | {"stringData": {"a": "b"}})
    create("v1", "configmaps", meta("cm") | {"data": {"a": "b"}, "binaryData": {"c": "aGk="}})
    claim = {
        "accessModes": ["ReadWriteOnce", "ReadOnlyMany"],
        "resources": {"requests": {"storage": "1Gi"}},
    }
    create("v1", "persistentvolumeclaims", meta("pvc") | {"spec": claim})
    volume = {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany"],
        "hostPath": {"path": "/tmp/none"}, "storageClassName": "x",
    }  # fmt: skip
    create("v1", "persistentvolumes", meta("pv") | {"spec": volume}, far=True)
    provisioner = {"provisioner": "x.example/y", "allowVolumeExpansion": True}
    create("storage.k8s.io/v1", "storageclasses", meta("sc") | provisioner, far=True)
    create("scheduling.k8s.io/v1", "priorityclasses", meta("pc") | {"value": 7}, far=True)
    role = {
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    }
    subjects = [
        {"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"},
        {"kind": "Group", "name": "g", "apiGroup": "rbac.authorization.k8s.io"},
        {"kind": "ServiceAccount", "name": "a", "namespace": server.namespace},
    ]
    create(
        "rbac.authorization.k8s.io/v1", "rolebindings", meta("rb") | role | {"subjects": subjects}
    )
    create("rbac.authorization.k8s.io/v1", "roles", meta("r") | {"rules": []})
    create("coordination.k8s.io/v1", "leases", meta("l") | {"spec": {"holderIdentity": "me"}})
    create("v1", "resourcequotas", meta("q") | {"spec": {"hard": hard}})


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with config.new_client_from_config() as api:  # type: ignore[no-untyped-call]
        found = Server(api)
        status, answer, _ = found.request("POST", "/api/v1/namespaces", meta(found.namespace))
        assert status == 201, answer
        try:
            # Pods are only taken once the service account is there.
            account = f"/api/v1/namespaces/{found.namespace}/serviceaccounts/default"
            end = time.monotonic() + 20
            while found.request("GET", account)[0] != 200 and time.monotonic() < end:
                time.sleep(0.1)
            fill(found)
            yield found
        finally:
            for path in found.made:
                found.request("DELETE", path)
            found.request("DELETE", f"/api/v1/namespaces/{found.namespace}")


class _NoDefinitions:
    def get(self, *_: object) -> None:
        return None


@pytest.mark.parametrize("resource", KINDS, ids=lambda row: f"{row.plural}.{row.group}".rstrip("."))
def test_the_tables_are_the_same(server: Server, resource: ResourceType) -> None:
    """Column by column of the server's, since 1.32 has some that 1.20 does not."""
    theirs, moment = server.table(resource)
    rows = theirs["rows"] or []
    items = [row["object"] for row in rows]
    # The server printed within a second of the one that its answer names.
    tables = [
        Printers(_NoDefinitions(), lambda at=moment + shift: at).table(  # type: ignore[arg-type, misc]
            resource, items, include="None"
        )
        for shift in (0, -1, 1)
    ]
    our_columns = {column["name"]: column for column in tables[0]["columnDefinitions"]}
    for at, column in enumerate(theirs["columnDefinitions"] or ()):
        name = column["name"]
        assert our_columns[name]["priority"] == column["priority"], name
        place = list(our_columns).index(name)
        for row, one in enumerate(rows):
            ours = [_as_of_1_20(name, table["rows"][row]["cells"][place]) for table in tables]
            assert one["cells"][at] in ours, (name, items[row]["metadata"]["name"])
    assert [row.get("conditions") for row in tables[0]["rows"]] == [
        row.get("conditions") for row in rows
    ]


def _as_of_1_20(column: str, cell: object) -> object:
    """A cell as it was before what 1.32 shows besides."""
    if column == "Restarts":
        # A number until 1.21, text with the time of the last one since.
        return int(str(cell).partition(" ")[0])
    if column == "Targets":
        # Since 1.31 a resource is told by its name.
        return str(cell).replace("cpu: ", "")
    return cell
