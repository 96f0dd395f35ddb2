"""What Kubernetes has had only since 1.20, on the embedded cluster alone."""

from __future__ import annotations

import pytest

from tests.parity.clusters import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.docker]


def said(cluster: Cluster, command: str) -> str:
    """What a command prints that succeeds."""
    answer = cluster.ask(command)
    assert answer.code == 0, answer
    return answer.out


def test_one_may_ask_who_one_is(ours: Cluster) -> None:
    assert "Username" in said(ours, "kubectl auth whoami")


def test_cron_jobs_run_by_hand(ours: Cluster) -> None:
    said(ours, "kubectl create cronjob c --image=busybox:1.36 --schedule='0 0 1 1 *' -- echo hi")
    assert "0 0 1 1 *" in said(ours, "kubectl get cronjob c")
    said(ours, "kubectl create job once --from=cronjob/c")
    said(ours, "kubectl wait --for=condition=complete job/once --timeout=30s")
    assert said(ours, "kubectl logs job/once") == "hi\n"


def test_fields_and_groups_are_explained(ours: Cluster) -> None:
    text = said(ours, "kubectl explain deployment.spec.replicas")
    assert text.startswith("GROUP:      apps\nKIND:       Deployment\nVERSION:    v1\n")
    assert "FIELD: replicas <integer>" in text


def test_names_with_dots_are_told_so(ours: Cluster) -> None:
    answer = ours.ask("kubectl create namespace a.b")
    assert 'Invalid value: "a.b": must not contain dots' in answer.err


def test_a_container_joins_a_running_pod(ours: Cluster) -> None:
    said(ours, "kubectl run p --image=busybox:1.36 -- sleep 1000")
    said(ours, "kubectl wait --for=condition=Ready pod/p --timeout=30s")
    said(ours, "kubectl debug p --image=busybox:1.36 -c extra -- sh -c 'echo joined; sleep 1000'")
    path = "{.status.ephemeralContainerStatuses[0].state.running.startedAt}"
    said(ours, f"kubectl wait --for=jsonpath='{path}' pod/p --timeout=30s")
    assert (
        said(ours, "until kubectl logs p -c extra | grep joined; do sleep 0.1; done") == "joined\n"
    )
    said(ours, "kubectl delete pod p --now --wait=false")


def test_rules_of_custom_kinds_are_enforced(ours: Cluster) -> None:
    group = f"{ours.namespace}.example.com"
    definition = f"""
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: boxes.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{plural: boxes, singular: box, kind: Box}}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties: {{low: {{type: integer}}, high: {{type: integer}}}}
            x-kubernetes-validations: [{{rule: self.low <= self.high, message: low is too high}}]
"""
    (ours.folder / "crd.yaml").write_text(definition)
    said(ours, "kubectl apply -f crd.yaml")
    said(ours, f"kubectl wait --for=condition=Established crd/boxes.{group} --timeout=30s")
    box = f"apiVersion: {group}/v1\nkind: Box\nmetadata: {{name: b}}\nspec: {{low: 2, high: 1}}\n"
    (ours.folder / "box.yaml").write_text(box)
    answer = ours.ask("kubectl create --validate=false -f box.yaml")
    said(ours, f"kubectl delete crd boxes.{group}")
    assert "low is too high" in answer.err
