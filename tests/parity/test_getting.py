# ruff: noqa: E501  (the lines of scripts are as long as commands are)
"""What `kubectl get` prints, in every form."""

from __future__ import annotations

import pytest

from tests.parity.clusters import Both

pytestmark = [pytest.mark.cluster, pytest.mark.docker]

OBJECTS = """
# objects to look at
cat > all.yaml <<END
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web, tier: front}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: main, image: "busybox:1.36", args: [sleep, "1000"]}]
---
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: bad, labels: {app: bad}}
spec:
  restartPolicy: Never
  containers: [{name: main, image: "busybox:1.36", command: [/none]}]
---
apiVersion: v1
kind: Pod
metadata: {name: done, labels: {app: done, n: "1"}}
spec:
  restartPolicy: Never
  containers: [{name: main, image: "busybox:1.36", command: ["true"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: failed, labels: {app: done, n: "2"}}
spec:
  restartPolicy: Never
  initContainers: [{name: first, image: "busybox:1.36", command: ["sh", "-c", "exit 3"]}]
  containers: [{name: main, image: "busybox:1.36", command: ["true"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: nowhere}
spec:
  nodeSelector: {none: such}
  containers: [{name: main, image: "busybox:1.36"}]
---
apiVersion: v1
kind: Pod
metadata: {name: unfetched}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: main, image: "none.invalid/none:1", imagePullPolicy: Never}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: "busybox:1.36", command: ["true"]}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 1
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: main, image: "busybox:1.36", args: [sleep, "1000"]}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: main, image: "busybox:1.36", args: [sleep, "1000"]}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: claim}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
END
kubectl apply -f all.yaml
# they come up
kubectl rollout status deployment/web --timeout=60s >/dev/null && kubectl rollout status sts/db ds/agent --timeout=60s >/dev/null && kubectl wait --for=condition=complete job/once --timeout=60s
"""


def test_every_form_of_get(both: Both) -> None:
    both.run(
        OBJECTS
        + """
# everything of the namespace [settles] [sorted]
kubectl get all
# pods [settles] [sorted]
kubectl get pods
# pods, wide [settles] [sorted]
kubectl get pods -o wide
# names [sorted]
kubectl get pods,deployments,svc -o name
# workloads, wide [settles]
kubectl get deployment,replicaset,statefulset,daemonset,job -o wide
# labels shown
kubectl get deployment --show-labels
# labels as columns [settles] [sorted]
kubectl get pods -L app,n
# sorted by name
kubectl get pods --sort-by=.metadata.name -l '!pod-template-hash,app' -o name
# sorted by something unknown
kubectl get svc --sort-by=.no.such
# selected by label [sorted]
kubectl get pods -l app=web -o name
kubectl get pods -l 'app in (done,bad),n!=2' -o name
kubectl get pods -l 'n notin (1)' -o name
# selected by field [sorted]
kubectl get pods --field-selector=status.phase=Pending -o name
kubectl get pods --field-selector=metadata.name=done,status.phase!=Running -o name
kubectl get pods --field-selector=spec.nodeName= -o name
# a field that cannot be selected by
kubectl get pods --field-selector=spec.foo=1
kubectl get configmaps --field-selector=data.a=1
# a selector that is none
kubectl get pods -l 'a in b'
kubectl get pods -l '=,'
# nothing is found
kubectl get pods -l app=none
kubectl get pods -n none-such
kubectl get deployment none-such
kubectl get deployment none-such web -o name
kubectl get deployment none-such --ignore-not-found
# custom columns
kubectl get pod done -o custom-columns=NAME:.metadata.name,IMAGE:.spec.containers[*].image,NONE:.spec.none
# custom columns without headers
kubectl get pod done -o custom-columns=N:.metadata.name --no-headers
# jsonpath [settles]
kubectl get pods -l app=done -o jsonpath='{range .items[*]}{.metadata.name}{"\\t"}{.status.phase}{"\\n"}{end}'
kubectl get pod failed -o jsonpath='{.status.initContainerStatuses[?(@.name=="first")].state.terminated.exitCode}'
# go-template
kubectl get pods -l app=done -o go-template='{{range .items}}{{.metadata.name}} {{len .spec.containers}}{{"\\n"}}{{end}}'
# several kinds at once
kubectl get svc/web deployment/web
kubectl get svc,deployment web -o name
# no headers
kubectl get svc --no-headers | sed 's/[0-9]*s$//'
# in chunks [sorted]
kubectl get pods --chunk-size=2 -o name
# the status of a pod in every detail [settles]
kubectl get pod done -o yaml
# of one whose init container failed [settles]
kubectl get pod failed -o yaml
# of one that cannot be placed
kubectl get pod nowhere -o jsonpath='{.status.phase} {.status.qosClass} {.status.conditions[*].message}'
# of one without its image [settles]
kubectl get pod unfetched -o jsonpath='{.status.phase} {.status.containerStatuses[0].state}'
# of one whose command is none [settles]
kubectl get pod bad -o jsonpath='{.status.phase} {.status.containerStatuses[0].state.terminated.reason} {.status.containerStatuses[0].state.terminated.exitCode}'
# a deployment in every detail [settles]
kubectl get deployment web -o yaml
# its replica set [settles]
kubectl get rs -l app=web -o yaml
# a stateful set
kubectl get statefulset db -o yaml
# a daemon set
kubectl get daemonset agent -o yaml
# a job
kubectl get job once -o jsonpath='{.status.succeeded} {.spec.completions} {.spec.backoffLimit} {.spec.template.spec}'
# a claim [settles]
kubectl get pvc claim
kubectl get pvc claim -o yaml
# endpoints
kubectl get endpoints web -o yaml
# a pod of a deployment, as JSON [settles]
kubectl get pods -l app=web -o json | python3 -c '
import json, sys
print([sorted(pod["spec"]) for pod in json.load(sys.stdin)["items"]])'
kubectl get pods -l app=web -o yaml
# the namespace
kubectl get namespace $NS -o yaml
# service accounts
kubectl get serviceaccounts -o name
# the system's own namespaces [sorted]
kubectl get namespaces default kube-system kube-public kube-node-lease
# the API's own service
kubectl get service kubernetes -n default
# storage classes' columns
kubectl get storageclass | head -1
# all namespaces
kubectl get pods -A -l app=web --field-selector=metadata.namespace=$NS -o name
kubectl get pods -A --field-selector=metadata.namespace=$NS,metadata.name=done
"""
    )


def test_watching(both: Both) -> None:
    both.run(
        """
# changes come as lines
kubectl create configmap one >/dev/null; : > watched
( kubectl get configmap -w --field-selector=metadata.name!=kube-root-ca.crt > watched & echo $! > pid )
until grep -q one watched; do sleep 0.1; done
kubectl create configmap two --from-literal=a=b >/dev/null; kubectl delete configmap one >/dev/null
until [ $(wc -l < watched) -ge 4 ]; do sleep 0.1; done
kill $(cat pid); cat watched
# events are printed
: > watched
( timeout 60 kubectl get configmap -w --output-watch-events -o custom-columns=E:.type,N:.object.metadata.name --field-selector=metadata.name!=kube-root-ca.crt > watched & echo $! > pid )
until grep -q two watched; do sleep 0.1; done
kubectl label configmap two a=b >/dev/null; kubectl delete configmap two >/dev/null
until grep -q DELETED watched; do sleep 0.1; done
kill $(cat pid); cat watched
# only what changes from now on
kubectl create configmap late >/dev/null; : > watched
( timeout 60 kubectl get configmap --watch-only -o name --field-selector=metadata.name=late > watched & echo $! > pid )
until grep -q late watched; do kubectl annotate configmap late at=$(date +%N) --overwrite >/dev/null; done
kill $(cat pid); head -n 1 watched
"""
    )
