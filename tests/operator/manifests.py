"""Manifests as users of upstream write them, and the catalog that knows our kinds."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml

from kindling.cluster.model.resource import BUILTIN, ResourceType
from kindling.cluster.model.schema import Schema
from kindling.cluster.schema.catalog import Catalog
from kindling.operator.definitions.environment import environment_definition
from kindling.operator.definitions.pool import POOL_KINDS, pool_definition

Obj = dict[str, Any]

UPSTREAM = """
apiVersion: apps.example.com/v1alpha1
kind: DevStagingEnvironment
metadata:
  name: jeff-orders
  labels: {app.kubernetes.io/name: jeff-orders, app.kubernetes.io/managed-by: kindling}
spec:
  deployment:
    image: registry:5000/orders:jeff-3be148d
    port: 8080
    replicas: 1
    env:
      - {name: PORT, value: "8080"}
      - {name: DSN, value: "$(DATABASE_URL)&application_name=orders"}
      - name: STRIPE_KEY
        valueFrom: {secretKeyRef: {name: kindling-secret-stripe-key, key: value}}
    resources: {cpuRequest: 100m, cpuLimit: "1", memoryRequest: 64Mi, memoryLimit: 256Mi}
    healthCheck: {type: http, path: /healthz}
  service: {port: 80, type: ClusterIP}
  ingress:
    enabled: true
    host: jeff-orders.localhost
    ingressClassName: traefik
  dependencies:
    - type: postgres
      version: "16"
    - type: redis
---
apiVersion: apps.example.com/v1alpha1
kind: DevStagingEnvironment
metadata: {name: everything}
spec:
  deployment:
    image: nginx
    port: 80
    replicas: 3
    command: [nginx]
    args: [-g, daemon off;]
    env:
      - {name: EMPTY}
      - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
      - {name: CPUS, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
      - {name: MODE, valueFrom: {configMapKeyRef: {name: modes, key: mode, optional: true}}}
    healthCheck: {type: grpc, port: 9000, initialDelaySeconds: 0, periodSeconds: 3}
  service: {port: 8080, targetPort: 80, type: NodePort}
  ingress:
    enabled: true
    host: everything.localhost
    path: /app
    pathType: Exact
    ingressClassName: traefik
    tls: {secretName: everything-tls}
    annotations: {example.com/a: b}
  dependencies:
    - type: mysql
      image: mariadb:11
      port: 3307
      envVarName: MYSQL_URL
      storageSize: 2Gi
      resources: {cpuRequest: 1, memoryLimit: 1Gi}
      env: [{name: MYSQL_DATABASE, value: shop}]
    - {type: mongodb}
    - {type: rabbitmq}
    - {type: minio}
    - {type: elasticsearch}
    - {type: kafka}
    - {type: nats}
    - {type: memcached}
    - {type: cassandra}
    - {type: consul}
    - {type: vault}
    - {type: influxdb}
    - {type: jaeger}
---
apiVersion: apps.example.com/v1alpha1
kind: DevStagingEnvironment
metadata: {name: ann.payments, labels: {team: payments}, annotations: {example.com/owner: ann}}
spec:
  deployment:
    image: ghcr.io/example/payments:1.4.0-rc.1
    port: 65535
    healthCheck: {type: none}
    resources: {cpuRequest: "0.5", memoryLimit: 1Gi}
  service: {port: 1, type: LoadBalancer}
  ingress:
    enabled: true
    host: payments.example.com
    path: /pay(/|$)(.*)
    pathType: ImplementationSpecific
    ingressClassName: nginx
    tls: {secretName: payments-tls, hosts: [payments.example.com, www.payments.example.com]}
    annotations: {nginx.ingress.kubernetes.io/rewrite-target: /$2}
  dependencies:
    - type: postgres
      version: 16-alpine
      env:
        - {name: POSTGRES_DB, value: payments}
        - {name: POSTGRES_PASSWORD, value: "p@ss/word"}
        - {name: POSTGRES_INITDB_ARGS, value: --data-checksums}
      resources: {cpuRequest: 100m, cpuLimit: 500m, memoryRequest: 128Mi, memoryLimit: 512Mi}
      storageSize: 5Gi
    - {type: redis, image: "valkey/valkey:8", port: 6380, envVarName: CACHE_URL}
---
apiVersion: apps.example.com/v1alpha1
kind: DevStagingEnvironment
metadata: {name: probes}
spec:
  deployment:
    image: registry:5000/probes:1
    port: 3000
    command: ["sh", "-c"]
    args: ["exec node server.js"]
    healthCheck: {type: http, path: /ready, port: 3001, initialDelaySeconds: 15, periodSeconds: 20}
  service: {port: 80, targetPort: 3000}
  ingress: {enabled: false, annotations: {}}
  dependencies: []
---
apiVersion: apps.example.com/v1alpha1
kind: DevStagingEnvironment
metadata: {name: least}
spec:
  deployment: {image: nginx, port: 80}
  service: {port: 80}
"""

POOLS = """
apiVersion: apps.example.com/v1alpha1
kind: CIRunnerPool
metadata: {name: jeff-runner-pool}
spec:
  githubUsername: jeff
  repository: jeff/orders
  tokenSecretRef: {name: github-runner-token}
  replicas: 1
  labels: [kindling]
---
apiVersion: apps.example.com/v1alpha1
kind: GithubActionRunnerPool
metadata: {name: jeff-runner-pool}
spec:
  githubUsername: Jeff.D.Vincent@gmail.com
  repository: jeff/orders
  tokenSecretRef: {name: github-runner-token, key: github-token}
  githubURL: https://github.example.com/
  ciProvider: ""
  runnerImage: ghcr.io/actions/actions-runner:latest
  runnerGroup: team
  workDir: /runner/_work
  resources: {cpuRequest: 500m, cpuLimit: "2", memoryRequest: 512Mi, memoryLimit: 4Gi}
  env: [{name: HTTP_PROXY, value: "http://proxy:3128"}]
  volumes: [{name: cache, emptyDir: {sizeLimit: 1Gi}}]
  volumeMounts: [{name: cache, mountPath: /cache}]
  serviceAccountName: builder
---
apiVersion: apps.example.com/v1alpha1
kind: CIRunnerPool
metadata: {name: lab}
spec:
  githubUsername: ann
  repository: group/sub/orders
  tokenSecretRef: {name: gitlab-runner-token, key: gitlab-token}
  githubURL: https://gitlab.example.com
  ciProvider: gitlab
"""


def documents(text: str) -> list[Obj]:
    return list(yaml.safe_load_all(text))


def environment(name: str = "shop", namespace: str = "default", **spec: Any) -> Obj:
    """A small environment; keywords replace parts of its spec."""
    base: Obj = {
        "deployment": {"image": "shop:1", "port": 8080},
        "service": {"port": 80},
    }
    return {
        "apiVersion": "apps.example.com/v1alpha1",
        "kind": "DevStagingEnvironment",
        "metadata": {"name": name, "namespace": namespace, "uid": "u-1", "generation": 3},
        "spec": base | spec,
    }


def definitions() -> list[Obj]:
    return [environment_definition(), *(pool_definition(kind) for kind in POOL_KINDS)]


@cache
def catalog() -> Catalog:
    made = Catalog()
    for one in definitions():
        made.define(one)
    return made


def schema_of(obj: Obj) -> Schema:
    """The schema by which the embedded cluster takes an object."""
    group, _, version = obj["apiVersion"].rpartition("/")
    kind = obj["kind"]
    for row in BUILTIN.values():
        if (row.group, row.version, row.kind) == (group, version, kind):
            return catalog().of(row)
    return catalog().of(ResourceType(group, version, kind, kind.lower() + "s", custom=True))


def stored(obj: Obj) -> Obj:
    """An object as a server holds it: with a namespace, and defaults filled in."""
    placed = obj | {"metadata": {"namespace": "default", "uid": "0f1e"} | obj["metadata"]}
    pruned, unknown = schema_of(placed).prune(placed)
    assert unknown == ()
    return schema_of(placed).default(pruned)


def refusals(obj: Obj) -> list[str]:
    """The fields that the embedded cluster refuses an object for."""
    return [f"{cause.field}: {cause.message}" for cause in schema_of(obj).validate(stored(obj))]
