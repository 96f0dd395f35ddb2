# ruff: noqa: E501  (the lines of scripts are as long as commands are)
"""What is deleted with what, and what `kubectl describe` tells of what is there."""

from __future__ import annotations

import pytest

from tests.parity.clusters import Both

pytestmark = [pytest.mark.cluster, pytest.mark.docker]


def test_deleting(both: Both) -> None:
    both.run(
        """
        # by name, label and file
        kubectl create configmap a && kubectl create configmap b && kubectl create configmap c && kubectl label configmap b c x=1 >/dev/null
        kubectl delete configmap a
        kubectl delete configmap -l x=1 --dry-run=client
        kubectl delete configmap -l x=1 --dry-run=server
        kubectl delete configmap -l x=1
        kubectl delete configmap -l x=1
        printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"none"}}' > none.json
        kubectl delete -f none.json
        kubectl delete -f none.json --ignore-not-found
        # by field
        kubectl create secret generic one && kubectl delete secret --field-selector=metadata.name=one -o name
        # all of a kind
        kubectl create secret generic one && kubectl create service clusterip s --tcp=80 && kubectl delete service --all
        # nothing is said of what
        kubectl delete
        kubectl delete configmap
        kubectl delete configmap a --all
        # a pod, with its grace
        kubectl run p --image=busybox:1.36 --restart=Never -- sh -c 'trap "exit 0" TERM; while true; do sleep 0.1; done'
        kubectl wait --for=condition=Ready pod/p --timeout=60s
        kubectl delete pod p --grace-period=5
        # a pod by force
        kubectl run f --image=busybox:1.36 -- sleep 1000
        kubectl wait --for=condition=Ready pod/f --timeout=60s
        kubectl delete pod f --force
        # at once
        kubectl run n --image=busybox:1.36 -- sleep 1000 && kubectl delete pod n --now
        # a deployment and what is its own: background
        cat > web.yaml <<END
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: web}
        spec:
          selector: {matchLabels: {app: web}}
          template:
            metadata: {labels: {app: web}}
            spec:
              terminationGracePeriodSeconds: 0
              containers: [{name: main, image: "busybox:1.36", args: [sleep, "1000"]}]
        END
        kubectl apply -f web.yaml && kubectl rollout status deployment/web --timeout=60s | tail -1
        kubectl delete deployment web
        # all is gone [settles]
        kubectl get rs,pods -l app=web
        # foreground: when the command ends there is nothing
        kubectl apply -f web.yaml && kubectl rollout status deployment/web --timeout=60s | tail -1
        kubectl delete deployment web --cascade=foreground --timeout=60s; kubectl get rs,pods -l app=web
        # orphans stay, and are taken up again
        kubectl apply -f web.yaml && kubectl rollout status deployment/web --timeout=60s | tail -1
        kubectl delete deployment web --cascade=orphan; kubectl get rs -l app=web -o jsonpath='{range .items[*]}{.metadata.ownerReferences} {.spec.replicas}{"\\n"}{end}'
        kubectl apply -f web.yaml && kubectl rollout status deployment/web --timeout=60s | tail -1
        kubectl get rs -l app=web -o jsonpath='{range .items[*]}{.metadata.ownerReferences[0].kind} {.metadata.ownerReferences[0].controller}{"\\n"}{end}'
        # what has a finalizer waits for it
        kubectl create configmap held && kubectl patch configmap held -p '{"metadata":{"finalizers":["example.com/held"]}}'
        kubectl delete configmap held --wait=false; kubectl get configmap held -o jsonpath='{.metadata.finalizers} {.metadata.deletionGracePeriodSeconds}'
        kubectl delete configmap held --timeout=1s
        kubectl patch configmap held --type=json -p '[{"op":"remove","path":"/metadata/finalizers"}]'
        kubectl get configmap held
        # a namespace with all it holds
        kubectl create namespace $NS-2 && kubectl create configmap x -n $NS-2 && kubectl delete namespace $NS-2
        kubectl get configmap -n $NS-2
        # nothing is made in one that goes
        kubectl create namespace $NS-3 && until kubectl get serviceaccount default -n $NS-3 >/dev/null 2>&1; do sleep 0.1; done
        printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","finalizers":["a.b/c"]}}' | kubectl create -n $NS-3 -f -
        kubectl delete namespace $NS-3 --wait=false; kubectl create configmap y -n $NS-3 2>&1 | cut -c-180; kubectl get namespace $NS-3
        kubectl patch configmap x -n $NS-3 --type=merge -p '{"metadata":{"finalizers":null}}'
        kubectl wait --for=delete namespace/$NS-3 --timeout=40s >/dev/null; kubectl get namespace $NS-3
        # namespaces that stay
        kubectl delete namespace default
        kubectl delete namespace kube-system
        """
    )


def test_describing(both: Both) -> None:
    both.run(
        """
        # things to describe
        cat > all.yaml <<END
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: words, labels: {a: b}, annotations: {note: text}}
        data: {key: value, file.txt: "one\\ntwo\\n"}
        ---
        apiVersion: v1
        kind: Secret
        metadata: {name: hidden}
        stringData: {key: value}
        ---
        apiVersion: v1
        kind: PersistentVolumeClaim
        metadata: {name: claim}
        spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
        ---
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: web, labels: {app: web}}
        spec:
          selector: {matchLabels: {app: web}}
          template:
            metadata: {labels: {app: web}}
            spec:
              terminationGracePeriodSeconds: 0
              containers:
              - name: main
                image: "busybox:1.36"
                args: [sh, -c, "sleep 1000"]
                ports: [{containerPort: 80, name: http}]
                env: [{name: A, value: "1"}, {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: K, valueFrom: {configMapKeyRef: {name: words, key: key}}}]
                readinessProbe: {exec: {command: ["true"]}, periodSeconds: 1}
                resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {memory: 64Mi}}
                volumeMounts: [{name: c, mountPath: /c}, {name: d, mountPath: /d, readOnly: true}]
              volumes: [{name: c, configMap: {name: words}}, {name: d, persistentVolumeClaim: {claimName: claim}}]
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: web}
        spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
        ---
        apiVersion: networking.k8s.io/v1
        kind: Ingress
        metadata: {name: site}
        spec: {ingressClassName: none, rules: [{host: web.localhost, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}
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
        apiVersion: v1
        kind: Pod
        metadata: {name: nowhere}
        spec:
          nodeSelector: {none: such}
          containers: [{name: main, image: "busybox:1.36"}]
        END
        kubectl apply -f all.yaml; kubectl rollout status deployment/web --timeout=60s | tail -1
        kubectl wait --for=condition=complete job/once --timeout=60s
        # a config map [sorted]
        kubectl describe configmap words
        # a secret [sorted]
        kubectl describe secret hidden
        # a running pod [settles]
        kubectl describe pod -l app=web | sed '/^Events/,$d'
        # its events [settles]
        kubectl get events --field-selector=involvedObject.kind=Pod --sort-by=.reason -o jsonpath='{range .items[*]}{.type} {.reason} {.involvedObject.name}{"\\n"}{end}' | grep web- | grep -v Pull
        # a pod that cannot be placed
        kubectl describe pod nowhere | sed '/^Events/,$d'
        # a deployment [settles]
        kubectl describe deployment web
        # its replica set [settles]
        kubectl describe rs -l app=web
        # a service [settles]
        kubectl describe service web | grep -e ^Name -e ^Selector -e ^Type -e ^TargetPort -e ^Session -e ^IP:
        # an ingress [settles]
        kubectl describe ingress site | grep -v ' / '
        # a claim [settles]
        kubectl describe pvc claim | sed '/^Events/,$d' | grep -v -e Annotations -e '^  *v.*kubernetes.io'
        # a job [settles]
        kubectl describe job once | grep -v -e '^Selector' -e '^ *Labels' -e uid -e job-name -e '^Completion Mode' -e '^Suspend' -e '^Pods Statuses'
        # a service account
        kubectl describe serviceaccount default | grep -e Name
        # the node
        kubectl describe node | grep -E -e '^[A-Z][A-Za-z -]+:' -o | grep -v PodCIDR | sort
        # what is none
        kubectl describe pod none
        kubectl describe pod -l app=none
        """
    )
