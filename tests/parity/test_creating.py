# ruff: noqa: E501  (the lines of scripts are as long as commands are)
"""What `kubectl create`, `apply`, `diff` and `run` say, and the objects that they make."""

from __future__ import annotations

import pytest

from tests.parity.clusters import Both

pytestmark = [pytest.mark.cluster, pytest.mark.docker]


def test_generators_make_the_same_objects(both: Both) -> None:
    both.run(
        """
        # a config map of literals
        kubectl create configmap words --from-literal=a=1 --from-literal=b.txt='two words' -o yaml
        # a config map of files
        printf 'line\\nline\\n' > file.txt
        printf '\\377\\000' > binary
        kubectl create configmap files --from-file=file.txt --from-file=other=binary -o yaml
        # a config map of variables
        printf 'A=1\\n# nothing\\nB=x y\\n' > env
        kubectl create configmap variables --from-env-file=env -o json
        # a secret of literals
        kubectl create secret generic plain --from-literal=user=me --from-literal=password=x -o yaml
        # a secret for a registry
        kubectl create secret docker-registry pull --docker-server=r.example \\
            --docker-username=u --docker-password=p -o yaml
        # a deployment
        kubectl create deployment web --image=busybox:1.36 --replicas=0 --port=80 -o yaml
        # a job
        kubectl create job once --image=busybox:1.36 -o jsonpath='{.metadata.name} {.spec.completions} {.spec.backoffLimit} {.spec.parallelism} {.spec.template.spec}' -- true
        # a service account
        kubectl create serviceaccount robot -o jsonpath='{.metadata.name} {.kind}'
        # a role
        kubectl create role reader --verb=get,list --resource=pods,pods/log,deployments.apps -o yaml
        # a role binding
        kubectl create rolebinding readers --role=reader --serviceaccount=$NS:robot --user=jane -o yaml
        # a cluster role that is not sent
        kubectl create clusterrole r --verb=get --non-resource-url=/logs/* --dry-run=client -o yaml
        # services of each type
        kubectl create service clusterip inner --tcp=80:8080 -o yaml
        kubectl create service clusterip headless --clusterip=None -o yaml
        kubectl create service nodeport outer --tcp=80 -o yaml
        kubectl create service externalname far --external-name=example.com -o yaml
        # a quota
        kubectl create quota small --hard=cpu=1,pods=20 -o yaml
        # an ingress
        kubectl create ingress site --rule='web.localhost/=inner:80' --rule='web.localhost/a*=inner:80,tls=t' --class=x
        kubectl get ingress site -o yaml
        # an ingress's table
        kubectl get ingress site
        # a token is asked for
        kubectl create token robot | tr -cd . ; echo
        # a namespace that is there
        kubectl create namespace $NS
        # a namespace in dry run
        kubectl create namespace other --dry-run=server -o yaml
        # what is created is listed
        kubectl get configmap,deployment,service,role,rolebinding,ingress
        # secrets' tables
        kubectl get secret plain pull
        """
    )


def test_create_from_files(both: Both) -> None:
    both.run(
        """
        # several objects in one file
        cat > two.yaml <<END
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: one, labels: {app: a}}
        data: {k: v}
        ---
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: two}
        END
        kubectl create -f two.yaml
        # again
        kubectl create -f two.yaml
        # a generated name
        printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"gen-"}}' | kubectl create -f -
        # its annotations are kept
        kubectl create --save-config -f - -o yaml <<END
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: saved}
        data: {k: "1"}
        END
        # a list
        kubectl create -f - <<END
        apiVersion: v1
        kind: List
        items:
        - {apiVersion: v1, kind: ConfigMap, metadata: {name: l1}}
        - {apiVersion: v1, kind: Secret, metadata: {name: l2}, stringData: {a: b}}
        END
        # a folder
        mkdir -p folder && cp two.yaml folder/ && kubectl replace -f folder/
        # replaced by force
        kubectl replace --force -f two.yaml
        # replaced when it is not there
        printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"none"}}' | kubectl replace -f -
        # a raw request
        kubectl get --raw /api/v1/namespaces/$NS/configmaps/two | python3 -m json.tool --sort-keys
        """
    )


def test_apply(both: Both) -> None:
    both.run(
        """
        # a diff of what is not there
        cat > web.yaml <<END
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: web, labels: {app: web}}
        spec:
          replicas: 0
          selector: {matchLabels: {app: web}}
          template:
            metadata: {labels: {app: web}}
            spec:
              containers:
              - {name: main, image: "busybox:1.36", args: [sleep, "1000"], ports: [{containerPort: 80}]}
              - {name: side, image: "busybox:1.36", env: [{name: A, value: "1"}, {name: B, value: "2"}]}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: web, labels: {app: web}}
        spec: {selector: {app: web}, ports: [{port: 80, name: http}]}
        END
        kubectl diff -f web.yaml | grep -v -e '^diff' -e '^---' -e '^+++'
        # dry runs of both kinds
        kubectl apply --dry-run=client -f web.yaml
        kubectl apply --dry-run=server -f web.yaml
        # applied
        kubectl apply -f web.yaml
        # applied again
        kubectl apply -f web.yaml
        # no diff
        kubectl diff -f web.yaml
        # a diff of a change
        sed -i 's/value: "2"/value: "3"/; s/1000/2000/; s/, ports:.*80}\\]//' web.yaml
        kubectl diff -f web.yaml | grep -v -e '^diff' -e '^---' -e '^+++'
        # the change is applied
        kubectl apply -f web.yaml -o yaml
        # a container is left out
        sed -i '/name: side/d' web.yaml
        kubectl apply -f web.yaml && kubectl get deployment web -o jsonpath='{.spec.template.spec.containers[*].name}'
        # what was last applied is shown
        kubectl apply view-last-applied deployment/web
        # an object that was not applied is warned of
        kubectl create configmap bare --from-literal=a=1
        printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"bare"},"data":{"b":"2"}}' | kubectl apply -f -
        kubectl get configmap bare -o jsonpath='{.data}'
        # set-last-applied
        printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"bare"},"data":{"b":"2"}}' > bare.json
        kubectl apply set-last-applied -f bare.json
        # pruned by label
        kubectl apply --prune -l app=web --prune-allowlist=apps/v1/Deployment \\
            --prune-allowlist=core/v1/Service -f - <<END
        apiVersion: v1
        kind: Service
        metadata: {name: web, labels: {app: web}}
        spec: {selector: {app: web}, ports: [{port: 81, name: http}]}
        END
        # an immutable field
        sed -i 's/matchLabels: {app: web}/matchLabels: {app: other}/' web.yaml
        kubectl create deployment web --image=busybox:1.36 --replicas=0 ; kubectl apply -f web.yaml
        """
    )


def test_server_side_apply(both: Both) -> None:
    both.run(
        """
        # applied
        printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"1","b":"2"}}' > c.json
        kubectl apply --server-side -f c.json
        # unchanged
        kubectl apply --server-side -f c.json
        # its owners
        kubectl get configmap c -o yaml --show-managed-fields
        # another manager conflicts
        sed 's/"a":"1"/"a":"9"/' c.json > d.json
        kubectl apply --server-side --field-manager=other -f d.json
        # and may force
        kubectl apply --server-side --field-manager=other --force-conflicts -f d.json
        kubectl get configmap c -o yaml --show-managed-fields
        # a field left out goes
        printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{}}' | kubectl apply --server-side -f -
        kubectl get configmap c -o jsonpath='{.data}'
        # a diff of the server's side
        kubectl diff --server-side --field-manager=other -f c.json | grep -v -e '^diff' -e '^---' -e '^+++'
        # a dry run
        kubectl apply --server-side --dry-run=server --field-manager=other -f d.json
        # from client to server
        printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"},"data":{"a":"1","b":"2"}}' > m.json
        kubectl apply -f m.json; kubectl apply --server-side -f m.json; kubectl get configmap m -o yaml --show-managed-fields
        # lists are merged by key
        cat > s.yaml <<END
        apiVersion: v1
        kind: Service
        metadata: {name: s}
        spec: {clusterIP: None, selector: {a: b}, ports: [{port: 80, name: http, protocol: TCP}]}
        END
        kubectl apply --server-side -f s.yaml
        sed 's/port: 80, name: http/port: 81, name: more/' s.yaml | kubectl apply --server-side --field-manager=two -f -
        kubectl get service s -o jsonpath='{.spec.ports}'
        """
    )
