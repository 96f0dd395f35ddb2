# ruff: noqa: E501  (the lines of scripts are as long as commands are)
"""The usual mistakes, and questions about the API and oneself, are answered in the same words."""

from __future__ import annotations

import pytest

from tests.parity.clusters import Both

pytestmark = [pytest.mark.cluster, pytest.mark.docker]


def test_the_usual_mistakes(both: Both) -> None:
    both.run(
        """
        # not found
        kubectl get pod none
        kubectl get nothings
        kubectl get nothings.example.com
        kubectl get pods/a secrets/b
        kubectl delete service none
        kubectl label pod none a=b
        kubectl patch deployment none -p '{}'
        # already there
        kubectl create configmap c && kubectl create configmap c
        # a namespace that is none
        kubectl create configmap c -n none-such
        kubectl run p --image=busybox:1.36 -n none-such
        kubectl delete namespace none-such
        # two namespaces
        printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"default"}}' | kubectl create -n $NS -f -
        # names that are none
        kubectl create configmap Upper_Case
        kubectl create configmap "$(printf 'a%.0s' $(seq 254))" 2>&1 | sed 's/aaaa*/AAA/g'
        kubectl create service clusterip 1st --tcp=80
        # a kind or version that is none
        printf '{"apiVersion":"v1","kind":"Nothing","metadata":{"name":"x"}}' | kubectl create -f -
        printf '{"apiVersion":"apps/v9","kind":"Deployment","metadata":{"name":"x"}}' | kubectl create -f -
        printf '{"kind":"Deployment","metadata":{"name":"x"}}' | kubectl create -f -
        # no YAML
        printf 'a: b: c' | kubectl create -f -
        printf '' | kubectl create -f -
        kubectl create -f none.yaml
        # nothing that is required
        kubectl create --validate=false -f - <<END
        {apiVersion: apps/v1, kind: Deployment, metadata: {name: x}, spec: {}}
        END
        # fields of the wrong type
        kubectl create --validate=false -f - <<END
        {apiVersion: apps/v1, kind: Deployment, metadata: {name: x}, spec: {replicas: many}}
        END
        # values out of their range
        kubectl create -f - <<END
        {apiVersion: v1, kind: Service, metadata: {name: x}, spec: {ports: [{port: 0}, {port: 99999, name: a}, {port: 1, name: A_B, protocol: FTP}], type: Odd}}
        END
        # a pod with many mistakes
        kubectl create -f - <<END
        apiVersion: v1
        kind: Pod
        metadata: {name: x, labels: {"a b": c}}
        spec:
          restartPolicy: Sometimes
          containers:
          - {name: Main, image: "", imagePullPolicy: Odd, ports: [{containerPort: 70000}]}
          - {name: b, image: b, volumeMounts: [{name: none, mountPath: ""}], env: [{name: "", value: x}], resources: {requests: {memory: 2Gi}, limits: {memory: 1Gi}}}
          - {name: b, image: b, livenessProbe: {periodSeconds: -1}}
          volumes: [{name: v, emptyDir: {}, hostPath: {path: /}}, {name: v, emptyDir: {}}]
        END
        # a selector that does not match
        kubectl create -f - <<END
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: x}
        spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: c}}, spec: {containers: [{name: a, image: a}]}}}
        END
        # fields that do not change
        kubectl create deployment d --image=busybox:1.36 --replicas=0
        kubectl patch deployment d --type=merge -p '{"spec":{"selector":{"matchLabels":{"app":"other"}},"template":{"metadata":{"labels":{"app":"other"}}}}}'
        kubectl create service clusterip s --tcp=80
        kubectl patch service s -p '{"spec":{"clusterIP":"10.1.2.3"}}'
        kubectl create secret generic t --type=Opaque
        kubectl patch secret t -p '{"type":"other"}'
        kubectl create job j --image=busybox:1.36 -- true
        kubectl patch job j -p '{"spec":{"template":{"spec":{"restartPolicy":"OnFailure"}}}}' 2>&1 | cut -c-60
        # a pod's spec does not change
        kubectl run p --image=none.invalid/x:1 --overrides='{"spec":{"terminationGracePeriodSeconds":0}}'
        kubectl patch pod p -p '{"spec":{"hostname":"h"}}' 2>&1 | grep -e Forbidden | cut -c-110
        # a revision of another time
        kubectl get configmap c -o yaml > c.yaml; kubectl annotate configmap c a=b; kubectl replace -f c.yaml
        # a uid of another
        sed 's/uid: .*/uid: 00000000-0000-0000-0000-000000000000/; /resourceVersion/d' c.yaml | kubectl replace -f -
        # an immutable map
        kubectl create -f - <<END
        {apiVersion: v1, kind: ConfigMap, metadata: {name: fixed}, immutable: true, data: {a: b}}
        END
        kubectl patch configmap fixed -p '{"data":{"a":"c"}}'
        # a secret that is not base64
        printf '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"z"},"data":{"a":"!"}}' | kubectl create --validate=false -f - 2>&1 | cut -c-113
        # a claim without a size
        kubectl create -f - <<END
        {apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: z}, spec: {accessModes: [Odd]}}
        END
        # an ingress that leads nowhere
        kubectl create -f - <<END
        {apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: z}, spec: {rules: [{host: "A_B", http: {paths: [{path: x, pathType: Prefix, backend: {}}]}}]}}
        END
        # a cron job's bad times
        kubectl create cronjob z --image=b --schedule='61 * * * *' --dry-run=client -o name
        # top, which needs a metrics server
        kubectl top pods
        kubectl top nodes
        # raw requests
        kubectl get --raw /none
        kubectl get --raw /healthz
        kubectl get --raw /readyz
        kubectl get --raw /livez/ping
        kubectl get --raw /api/v1/namespaces/$NS/pods/none
        kubectl delete --raw /api/v1/namespaces/$NS/configmaps/none
        """
    )


def test_questions_about_the_api(both: Both) -> None:
    both.run(
        """
        # who may do what
        kubectl auth can-i create pods
        kubectl auth can-i '*' '*' --all-namespaces
        kubectl auth can-i get pods --subresource=log -q
        kubectl auth can-i get /healthz
        kubectl auth can-i get nothings
        # the kinds of the core and of apps
        kubectl api-resources --api-group='' --no-headers | grep -v -e componentstatuses -e bindings
        kubectl api-resources --api-group=apps
        kubectl api-resources --api-group=apps -o wide | grep -e deployments -e NAME
        kubectl api-resources --api-group=batch -o name --namespaced --verbs=create | grep jobs
        kubectl api-resources --api-group=networking.k8s.io --no-headers | grep -e '^ingress' -e '^network'
        kubectl api-resources --namespaced=false --api-group=storage.k8s.io -o name | grep -e classes
        # groups
        kubectl api-versions | grep -E -x 'v1|apps/v1|batch/v1|(networking|rbac.authorization|storage|coordination|authentication|authorization|events|apiextensions).k8s.io/v1'
        # explained, which is none
        kubectl explain service.spec.none 2>&1 | tail -1
        kubectl explain nothing
        # a custom kind
        cat > crd.yaml <<END
        apiVersion: apiextensions.k8s.io/v1
        kind: CustomResourceDefinition
        metadata: {name: toys.$NS.example.com}
        spec:
          group: $NS.example.com
          scope: Namespaced
          names: {plural: toys, singular: toy, kind: Toy, shortNames: [ty], categories: [all]}
          versions:
          - name: v1
            served: true
            storage: true
            subresources: {status: {}, scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size}}
            additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}, {name: Colour, type: string, jsonPath: .spec.colour, priority: 1}, {name: Age, type: date, jsonPath: .metadata.creationTimestamp}]
            schema:
              openAPIV3Schema:
                type: object
                description: A toy.
                properties:
                  spec:
                    type: object
                    required: [size]
                    properties:
                      size: {type: integer, minimum: 1, description: How big it is.}
                      colour: {type: string, default: red, enum: [red, blue]}
                      parts: {type: array, items: {type: object, properties: {name: {type: string}}}}
                  status: {type: object, properties: {size: {type: integer}}}
        END
        kubectl apply -f crd.yaml
        kubectl wait --for=condition=Established crd/toys.$NS.example.com --timeout=30s
        until kubectl get toys >/dev/null 2>&1; do sleep 0.2; done; kubectl get toys
        # one is made, and defaults are set
        kubectl create --validate=false -f - <<END
        {apiVersion: $NS.example.com/v1, kind: Toy, metadata: {name: bear}, spec: {size: 3, unknown: 1}}
        END
        kubectl get toy bear -o jsonpath='{.spec}'
        # its tables
        kubectl get ty
        kubectl get toys -o wide
        kubectl get all | grep toy
        # it is refused
        kubectl create --validate=false -f - <<END
        {apiVersion: $NS.example.com/v1, kind: Toy, metadata: {name: bad}, spec: {size: 0, colour: green, parts: x}}
        END
        kubectl patch toy bear --type=merge -p '{"spec":{"size":"x"}}'
        kubectl patch toy bear -p '{"spec":{"size":1}}'
        # changed by apply
        printf "{apiVersion: $NS.example.com/v1, kind: Toy, metadata: {name: car}, spec: {size: 1, parts: [{name: a}]}}" > car.yaml
        kubectl apply --validate=false -f car.yaml
        sed -i 's/size: 1/size: 2/' car.yaml; kubectl apply --validate=false -f car.yaml
        kubectl apply --validate=false --server-side --force-conflicts -f car.yaml
        kubectl get toy car -o jsonpath='{.spec} {.metadata.generation}'
        # scaled, and its status patched
        kubectl scale toy bear --replicas=5
        kubectl patch toy bear --type=merge --subresource=status -p '{"status":{"size":2},"spec":{"size":9}}'
        kubectl get toy bear -o jsonpath='{.spec.size} {.status.size} {.metadata.generation}'
        # described
        kubectl describe toy bear | grep -v -e 'Managed' -e f: -e 'Fields' -e Manager -e Operation -e '^    API' -e Time: -e '^ *\\.'
        # gone with its kind
        kubectl delete crd toys.$NS.example.com
        kubectl get toys 2>&1 | sed 's/ (get .*//'
        # a definition that is none
        sed 's/storage: true/storage: false/; s/name: toys/name: other/' crd.yaml | kubectl create -f - 2>&1 | grep -v -e storedVersions | sed 's/{.*}/{...}/'
        """
    )
