# ruff: noqa: E501  (the lines of scripts are as long as commands are)
"""What changes objects: patch, label, annotate, scale, set, rollout, and how kubectl tells of it."""

from __future__ import annotations

import pytest

from tests.parity.clusters import Both

pytestmark = [pytest.mark.cluster, pytest.mark.docker]


def test_patches_labels_and_annotations(both: Both) -> None:
    both.run(
        """
        # something to change
        kubectl create configmap c --from-literal=a=1 --from-literal=b=2
        kubectl create deployment web --image=busybox:1.36 --replicas=0 -- sleep 1000
        # a merge patch
        kubectl patch configmap c --type=merge -p '{"data":{"a":null,"c":"3"}}'
        kubectl get configmap c -o jsonpath='{.data}'
        # a patch that changes nothing
        kubectl patch configmap c --type=merge -p '{"data":{"c":"3"}}'
        # a JSON patch
        kubectl patch configmap c --type=json -p '[{"op":"test","path":"/data/b","value":"2"},{"op":"replace","path":"/data/b","value":"4"},{"op":"add","path":"/data/d","value":"5"},{"op":"remove","path":"/data/c"}]'
        kubectl get configmap c -o jsonpath='{.data}'
        # a JSON patch whose test fails
        kubectl patch configmap c --type=json -p '[{"op":"test","path":"/data/b","value":"9"}]'
        # a JSON patch of what is not there
        kubectl patch configmap c --type=json -p '[{"op":"remove","path":"/data/none"}]'
        # a strategic merge patch goes by the key of a list
        kubectl patch deployment web -p '{"spec":{"template":{"spec":{"containers":[{"name":"busybox","env":[{"name":"A","value":"1"}]},{"name":"side","image":"busybox:1.36"}]}}}}'
        kubectl get deployment web -o jsonpath='{range .spec.template.spec.containers[*]}{.name} {.image} {.env}{"\\n"}{end}'
        # and deletes by directives
        kubectl patch deployment web -p '{"spec":{"template":{"spec":{"containers":[{"name":"side","$patch":"delete"}]}}}}'
        kubectl get deployment web -o jsonpath='{.spec.template.spec.containers[*].name}'
        # a patch that is not valid
        kubectl patch deployment web --type=merge -p '{"spec":{"replicas":-1}}'
        kubectl patch deployment web --type=merge -p '{"spec":{"replicas":"x"}}' 2>&1 | cut -c-46
        # of a subresource
        kubectl patch deployment web --subresource=scale --type=merge -p '{"spec":{"replicas":0}}'
        kubectl patch deployment web --subresource=status --type=merge -p '{"status":{"observedGeneration":1}}'
        # of a file that is not sent
        kubectl patch --local -f - -p '{"data":{"z":"1"}}' -o yaml <<END
        {apiVersion: v1, kind: ConfigMap, metadata: {name: l}, data: {a: b}}
        END
        # labels
        kubectl label configmap c x=1 y=2
        kubectl label configmap c x=2
        kubectl label --overwrite configmap c x=2
        kubectl label configmap c y-
        kubectl label configmap c none-
        kubectl label configmap c 'x=a b'
        kubectl label configmap c --list
        kubectl label configmap -l x=2 z=3
        kubectl get configmap c -o jsonpath='{.metadata.labels}'
        # annotations
        kubectl annotate configmap c note='two words'
        kubectl annotate configmap c note=other
        kubectl annotate configmap c note- --dry-run=server
        kubectl annotate configmap c a/b/c=1
        kubectl get configmap c -o jsonpath='{.metadata.annotations}'
        # an old revision conflicts
        kubectl get configmap c -o json > c.json; kubectl label configmap c w=1 >/dev/null
        kubectl replace -f c.json
        kubectl annotate configmap c k=v --resource-version=1
        # an editor's change
        printf '#!/bin/sh\\nsed -i s/^data:/data:\\\\\\\\n..q:.\\\\"7\\\\"/ "$1"; sed -i "s/^\\\\.\\\\.q:\\\\./  q: /" "$1"\\n' > editor; chmod +x editor
        EDITOR=./editor kubectl edit configmap c
        EDITOR=true kubectl edit configmap c
        kubectl get configmap c -o jsonpath='{.data}'
        # scaled
        kubectl scale deployment web --replicas=0
        kubectl scale deployment web --current-replicas=5 --replicas=1
        kubectl scale deployment none --replicas=1
        kubectl scale configmap c --replicas=1
        # set image, env and resources
        kubectl set image deployment/web busybox=busybox:1.37
        kubectl set image deployment/web none=busybox:1.37
        kubectl set image deployment/web '*=busybox:1.36' --all
        kubectl set env deployment/web A=1 B=2
        kubectl set env deployment/web B-
        kubectl set env deployment/web --list
        kubectl set env deployment/web --from=configmap/c --keys=b
        kubectl set resources deployment/web --limits=memory=64Mi --requests=cpu=10m
        kubectl set serviceaccount deployment web default
        kubectl set selector service none a=b
        kubectl get deployment web -o jsonpath='{.spec.template.spec}'
        # set subject
        kubectl create rolebinding b --role=r --user=u
        kubectl set subject rolebinding b --serviceaccount=$NS:default
        # exposed
        kubectl expose deployment web --port=80 --target-port=8080
        kubectl get service web -o jsonpath='{.spec.selector} {.spec.ports}'
        # autoscaled in a dry run
        kubectl autoscale deployment web --max=3 --dry-run=client -o name
        # nodes keep what is asked of them
        kubectl cordon none
        """
    )


def test_rollouts(both: Both) -> None:
    both.run(
        """
        # a deployment comes up
        cat > web.yaml <<END
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: web, labels: {app: web}}
        spec:
          replicas: 2
          selector: {matchLabels: {app: web}}
          template:
            metadata: {labels: {app: web}}
            spec:
              terminationGracePeriodSeconds: 0
              containers: [{name: main, image: "busybox:1.36", args: [sleep, "1000"]}]
        END
        kubectl apply -f web.yaml && kubectl rollout status deployment/web --timeout=60s | tail -1
        # its history
        kubectl annotate deployment web kubernetes.io/change-cause=first
        kubectl rollout history deployment/web
        # another revision
        kubectl set env deployment/web A=1 && kubectl annotate deployment web --overwrite kubernetes.io/change-cause=second
        kubectl rollout status deployment/web --timeout=60s | tail -1
        kubectl rollout history deployment/web
        # one revision of it
        kubectl rollout history deployment/web --revision=2
        kubectl rollout history deployment/web --revision=9
        # only the new pods are left [settles]
        kubectl get pods -l app=web -o jsonpath='{range .items[*]}{.spec.containers[0].env}{"\\n"}{end}'
        kubectl get rs -l app=web --sort-by=.metadata.annotations.deployment\\\\.kubernetes\\\\.io/revision
        # undone
        kubectl rollout undo deployment/web
        kubectl rollout status deployment/web --timeout=60s | tail -1
        kubectl rollout history deployment/web
        # undone to a revision that is none
        kubectl rollout undo deployment/web --to-revision=9
        kubectl rollout undo deployment/web --to-revision=3
        # paused
        kubectl rollout pause deployment/web; kubectl rollout pause deployment/web
        kubectl rollout restart deployment/web
        kubectl rollout undo deployment/web
        kubectl set env deployment/web B=2
        # nothing moves while it is paused [settles]
        kubectl get rs -l app=web -o name | wc -l
        kubectl get deployment web -o jsonpath='{range .status.conditions[*]}{.type} {.status} {.reason}{"\\n"}{end}'
        # resumed
        kubectl rollout resume deployment/web; kubectl rollout resume deployment/web
        kubectl rollout status deployment/web --timeout=60s | tail -1
        # restarted
        kubectl rollout restart deployment/web && kubectl rollout status deployment/web --timeout=60s | tail -1
        kubectl get deployment web -o jsonpath='{.metadata.annotations.deployment\\.kubernetes\\.io/revision}'
        # one that does not come up
        kubectl patch deployment web -p '{"spec":{"progressDeadlineSeconds":1,"template":{"spec":{"containers":[{"name":"main","image":"none.invalid/none:1"}]}}}}'
        kubectl rollout status deployment/web --timeout=30s >/dev/null
        # scaled to nothing
        kubectl scale deployment web --replicas=0
        # no pods [settles]
        kubectl get pods -l app=web
        # a stateful set
        kubectl apply -f - <<END
        apiVersion: apps/v1
        kind: StatefulSet
        metadata: {name: db}
        spec:
          serviceName: db
          replicas: 2
          selector: {matchLabels: {app: db}}
          template:
            metadata: {labels: {app: db}}
            spec:
              terminationGracePeriodSeconds: 0
              containers: [{name: main, image: "busybox:1.36", args: [sleep, "1000"], volumeMounts: [{name: data, mountPath: /data}]}]
          volumeClaimTemplates:
          - metadata: {name: data}
            spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
        END
        kubectl rollout status sts/db --timeout=60s | tail -1
        kubectl get pvc -o name
        kubectl rollout restart sts/db && kubectl rollout status sts/db --timeout=60s | tail -1
        kubectl rollout history sts/db
        kubectl scale sts db --replicas=1
        # the last one goes [settles]
        kubectl get pods -l app=db
        # a daemon set
        kubectl apply -f - <<END
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
        END
        kubectl rollout status ds/agent --timeout=60s | tail -1
        kubectl set env ds/agent A=1 && kubectl rollout status ds/agent --timeout=60s | tail -1
        kubectl rollout history ds/agent
        kubectl rollout undo ds/agent
        # what has no rollout
        kubectl rollout status configmap/kube-root-ca.crt
        kubectl rollout status deployment/none
        """
    )
