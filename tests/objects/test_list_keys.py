"""Old API servers cannot merge a Service whose ports name no protocol."""

from kindling.objects.keys import with_list_keys


def test_a_port_without_a_protocol_gets_the_default_and_others_stay() -> None:
    service = {
        "kind": "Service",
        "spec": {"ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}], "type": "ClusterIP"},
    }
    ports = with_list_keys(service)["spec"]["ports"]
    assert [port["protocol"] for port in ports] == ["TCP", "UDP"]
    assert service["spec"] == {
        "ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}],
        "type": "ClusterIP",
    }


def test_other_kinds_and_odd_manifests_pass_unchanged() -> None:
    for manifest in (
        {"kind": "Deployment", "spec": {"ports": [{"port": 1}]}},
        {"kind": "Service"},
        {"kind": "Service", "spec": {"ports": None}},
    ):
        assert with_list_keys(manifest) == manifest
