# ruff: noqa: E501  (the lines of scripts are as long as commands are)
"""What is done with pods that run: wait, logs, exec, attach, cp, port-forward, run, describe."""

from __future__ import annotations

import pytest

from tests.parity.clusters import Both

pytestmark = [pytest.mark.cluster, pytest.mark.docker]

PODS = """
# pods to work with
cat > pods.yaml <<END
apiVersion: v1
kind: Pod
metadata: {name: two, labels: {app: two}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: "busybox:1.36", command: [sh, -c, "echo one; echo two >&2; echo three; mkdir /www; echo page > /www/index.html; httpd -f -p 8080 -h /www"], ports: [{containerPort: 8080, name: http}]}
  - {name: side, image: "busybox:1.36", command: [sh, -c, "echo side; exec sleep 1000"]}
---
apiVersion: v1
kind: Pod
metadata: {name: done, labels: {app: done}}
spec:
  restartPolicy: Never
  containers: [{name: main, image: "busybox:1.36", command: [sh, -c, "for i in 1 2 3 4 5; do echo line \\$i; done; exit 3"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: again}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: main, image: "busybox:1.36", command: [sh, -c, "if [ -e /shared/x ]; then echo second; exec sleep 1000; fi; touch /shared/x; echo first; exit 1"], volumeMounts: [{name: s, mountPath: /shared}]}]
  volumes: [{name: s, emptyDir: {}}]
---
apiVersion: v1
kind: Pod
metadata: {name: talker, labels: {app: talker}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: main, image: "busybox:1.36", stdin: true, tty: false, command: [sh, -c, "while read x; do echo got \\$x; done; sleep 1000"]}]
---
apiVersion: v1
kind: Service
metadata: {name: two}
spec: {selector: {app: two}, ports: [{port: 80, targetPort: http}]}
END
kubectl apply -f pods.yaml
kubectl wait --for=condition=Ready pod/two pod/talker pod/again --timeout=60s
# waiting for what is in the status
kubectl wait --for=jsonpath='{.status.phase}'=Failed pod/done --timeout=60s
# and again [settles]
kubectl get pod again -o jsonpath='{.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}'
"""


def test_logs(both: Both) -> None:
    both.run(
        PODS
        + """
# logs [settles]
kubectl logs done
# of the default container [settles] [sorted]
kubectl logs two
# of a named one [settles]
kubectl logs two -c side
kubectl logs two side
# of one that is none
kubectl logs two -c none
kubectl logs none
# of all [sorted] [settles]
kubectl logs two --all-containers
kubectl logs two --all-containers --prefix
# the tail
kubectl logs done --tail=2
kubectl logs done --tail=0
# some bytes
kubectl logs done --limit-bytes=10
# times
kubectl logs done --timestamps
# since
kubectl logs done --since=1h
kubectl logs done --since-time=2030-01-01T00:00:00Z
# the last one's
kubectl logs again
kubectl logs again --previous
kubectl logs talker --previous
# by selector
kubectl logs -l app=done --tail=1
kubectl logs -l app=nothing
# of an owner
kubectl logs service/two -c side
# followed to the end
kubectl run slow --image=busybox:1.36 --restart=Never -- sh -c 'for i in 1 2 3; do echo $i; sleep 0.3; done'
kubectl wait --for=condition=Ready pod/slow --timeout=30s >/dev/null 2>&1; kubectl logs -f slow
# several flags that exclude each other
kubectl logs done --since=1h --since-time=2030-01-01T00:00:00Z
"""
    )


def test_processes_in_pods(both: Both) -> None:
    both.run(
        PODS
        + """
# output and exit code
kubectl exec two -- echo hello
kubectl exec two -c side -- sh -c 'echo out; echo err >&2; exit 7'
# no such command
kubectl exec two -c main -- none
# no such container
kubectl exec two -c none -- true
# no such pod, and one that is over
kubectl exec none -- true
kubectl exec done -- true
# stdin
printf 'a b\\nc' | kubectl exec -i two -c side -- cat
printf 'x%.0s' $(seq 100000) | kubectl exec -i two -c side -- wc -c
# of an owner
kubectl exec service/two -c side -- echo by-service
# no command
kubectl exec two
# a terminal [tty]
stty cols 91 rows 23; kubectl exec -it two -c side -- sh -c 'test -t 0 && echo terminal; sleep 0.7; stty size; exit 4'
# no terminal on this side
kubectl exec -it two -c side -- echo hi < /dev/null
# attached: what is typed is answered [settles]
for n in 1 2 3 4 5 6; do said=$({ printf 'one\\n'; sleep $n; } | timeout 8 kubectl attach -i talker 2>/dev/null | head -1); [ -z "$said" ] || break; done; echo "$said"
# attached to one that is none
kubectl attach done
kubectl attach two -c none
# copied in and out
mkdir -p d/e; echo 1 > d/one; echo 2 > d/e/two
kubectl cp d two:/tmp/d -c side; kubectl exec two -c side -- sh -c 'cd /tmp/d && find . -type f | sort | xargs cat'
kubectl cp two:/tmp/d back -c side > tar.said 2>&1; find back -type f | sort
kubectl cp two:/tmp/d/one one -c side > tar.said 2>&1; cat one
# copied from what is not there
kubectl cp none two:/tmp/none
# forwarded
touch forward
kubectl port-forward pod/two :8080 >> forward &
until grep -q Forwarding forward; do sleep 0.1; done
port=$(sed -n 's/.*127.0.0.1:\\([0-9]*\\) .*/\\1/p' forward | head -1)
python3 -c "import urllib.request as u; print(u.urlopen('http://127.0.0.1:$port/').read())"
kill $!; cat forward
# forwarded to a service's port by its number and name
: > forward
kubectl port-forward service/two :80 >> forward &
until grep -q Forwarding forward; do sleep 0.1; done
port=$(sed -n 's/.*127.0.0.1:\\([0-9]*\\) .*/\\1/p' forward | head -1)
python3 -c "import urllib.request as u; print(u.urlopen('http://127.0.0.1:$port/').read())"
kill $!
# forwarded to nothing
kubectl port-forward pod/none 0:80
kubectl port-forward pod/done 0:80
kubectl port-forward service/two 0:81
# run once, with what it prints
kubectl run once --image=busybox:1.36 --rm -i --restart=Never --quiet -- sh -c 'sleep 3; echo printed; exit 0' < /dev/null 2>/dev/null
# run once, with stdin
echo typed | kubectl run echo --image=busybox:1.36 --rm -i --restart=Never --quiet -- sh -c 'sleep 3; cat'
# run once, and failed
kubectl run fails --image=busybox:1.36 --rm -i --restart=Never --quiet -- sh -c 'sleep 3; exit 5' < /dev/null
# run, in a dry run
kubectl run x --image=busybox:1.36 --env=A=1 --labels=a=b --port=80 --dry-run=server -o jsonpath='{.metadata.labels} {.spec.containers[0].env} {.spec.containers[0].ports}'
# run twice
kubectl run two --image=busybox:1.36
# variables, names and files of a pod
kubectl exec two -c side -- sh -c 'hostname; echo $KUBERNETES_SERVICE_PORT; ls /var/run/secrets/kubernetes.io/serviceaccount; cat /var/run/secrets/kubernetes.io/serviceaccount/namespace; echo; grep -c nameserver /etc/resolv.conf; grep search /etc/resolv.conf'
# services by name
kubectl exec two -c side -- wget -qO- http://two/
kubectl exec two -c side -- wget -qO- http://two.$NS.svc.cluster.local/
kubectl exec two -c side -- wget -qO- http://none.$NS/
# the first process, and who it is
kubectl exec two -c side -- sh -c 'cat /proc/1/cmdline | tr "\\\\0" " "; id -u; pwd'
"""
    )


def test_waiting(both: Both) -> None:
    both.run(
        """
        # a condition that does not come
        kubectl run p --image=busybox:1.36 --overrides='{"spec":{"terminationGracePeriodSeconds":0}}' -- sleep 1000
        kubectl wait --for=condition=None pod/p --timeout=1s
        # one that comes
        kubectl wait --for=condition=Ready pod/p --timeout=30s
        # a value
        kubectl wait --for=jsonpath='{.status.phase}'=Running pod/p --timeout=30s
        kubectl wait --for=jsonpath='{.spec.nodeName}' pod/p --timeout=30s
        # what is not there
        kubectl wait --for=condition=Ready pod/none --timeout=1s
        kubectl wait --for=condition=Ready pod -l app=none --timeout=1s
        # deletion
        (sleep 0.5; kubectl delete pod p --wait=false >/dev/null) & kubectl wait --for=delete pod/p --timeout=30s; wait
        # deletion of what is gone
        kubectl wait --for=delete pod/p --timeout=5s
        # creation
        (sleep 0.5; kubectl create configmap later >/dev/null) & kubectl wait --for=create configmap/later --timeout=10s; wait
        # deployments
        kubectl create deployment d --image=busybox:1.36 -- sleep 1000
        kubectl wait --for=condition=Available deployment/d --timeout=60s
        kubectl patch deployment d -p '{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":0}}}}'
        """
    )
