"""What is wrong with a service is said at its place, in the words of its call, with a way out."""

from __future__ import annotations

import pytest

from kindling.testing.project import Project

FILE = """\
apiVersion: apps.example.com/v1alpha1
kind: DevStagingEnvironment
metadata:
  name: orders
spec:
  deployment:
    image: orders
    port: 8080
  service:
    port: 80
"""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ('"x", 70000', "service `api`: `port`: 70000 is more than 65535"),
        ('"x", "80"', "service `api`: `port` must be a whole number"),
        ('"", 80', "`service(image=)` is empty"),
        (
            '"Shop", 80',
            "service `api`: `image`: `Shop` is not an image reference: names are lower case",
        ),
        ('"x", 80, replicas = 0', "service `api`: `replicas`: 0 is less than 1"),
        ('"x", 80, namespace = "A_b"', "service `api`: `namespace`: `A_b` is no name of a"),
        ('"x", 80, service_port = 0', "service `api`: `service_port`: 0 is less than 1"),
        (
            '"x", 80, service_type = "Nodeport"',
            "service `api`: `service_type`: `Nodeport` is none of [ClusterIP, NodePort, Load",
        ),
        ('"x", 80, args = [1]', "`service(args=)` wants a list of texts, not a number: 1"),
        ('"x", 80, health = "/"', "`service(health=)` wants `http_get()`, `grpc()` or `tcp()`"),
        ('"x", 80, ingress = True', "`service(ingress=)` wants a host such as `shop.localhost`"),
        ('"x", 80, ingress = "A.b"', "service `api`: `ingress.host`: `A.b` is no name such as"),
        (
            '"x", 80, ingress = ingress("a.b", path = "c")',
            "service `api`: `ingress.path` must begin with a slash",
        ),
        (
            '"x", 80, env = {"A": True}',
            "`service(env=)`: `A` is a bool, and a variable is a text",
        ),
        ('"x", 80, env = {"A=": "b"}', "service `api`: `env`: `A=` is no name of a variable"),
        (
            '"x", 80, env = {"A": {"fieldRef": {"path": "b", "fieldPath": "c"}}}',
            "service `api`: `env.A.valueFrom.fieldRef.path` is not known",
        ),
        (
            '"x", 80, env = {"A": redis()}',
            "`service(env=)` wants a text, a number, `secret()` or a dict for `A`, not a `redis()`",
        ),
        (
            '"x", 80, resources = {"cpu": ["2", "1"]}',
            "service `api`: `resources.cpuRequest` must be at most cpuLimit, or no pod starts",
        ),
        (
            '"x", 80, resources = {"memory": "1 GB"}',
            "service `api`: `resources.memoryRequest`: `1 GB` is no amount such as",
        ),
        (
            '"x", 80, resources = {"cpu": "1", "cpuRequest": "1"}',
            "`service(resources=)` says `cpuRequest` twice",
        ),
        (
            '"x", 80, dependencies = [http_get()]',
            "`service(dependencies=)` wants `postgres()` and its kin, not a `http_get()`",
        ),
        (
            '"x", 80, dependencies = [redis(), redis()]',
            "service `api`: `dependencies[1]` is called `redis`, as dependencies[0] is; give one "
            "of them a `name` of its own",
        ),
        (
            '"x", 80, dependencies = [postgres(), mysql()]',
            "service `api`: `dependencies[1]`: `mysql` sets the variable `DATABASE_URL`, as "
            "`postgres` (dependencies[0]) does; give one of them an `env_var` or a `name` of its "
            "own, or set the variable yourself in env",
        ),
    ],
)
def test_a_service(project: Project, arguments: str, message: str) -> None:
    text = project.fails(f'\nservice("api", {arguments})')
    assert text.startswith(f"Kindlingfile:2:1: {message}")
    assert "    | ^^^^^^^\n" in f"{text}\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Api", "must begin with a lower-case letter"),
        ("1st", "must begin with a lower-case letter"),
        ("a_b", "`a_b` is no name"),
        ("a-", "`a-` is no name"),
        ("a..b", "`a..b` is no name"),
        ("a" * 64, "is too long"),
    ],
)
def test_a_name(project: Project, name: str, message: str) -> None:
    text = project.fails(f'service("{name}", "x", 80)')
    assert text.startswith(f"Kindlingfile:1:1: service `{name}`: `name`")
    assert message in text


@pytest.mark.parametrize(
    ("call", "column", "message"),
    [
        ('postgres(versoin = "1")', 1, "`postgres` has no parameter `versoin`"),
        ("postgres(version = 3.10)", 1, "`postgres(version=)` is the number 3.1, which may have"),
        ('postgres("a b")', 1, "`postgres`: `version`: `a b` is no tag of an image"),
        ("postgres(port = 0)", 1, "`postgres`: `port`: 0 is less than 1"),
        ('postgres(image = "A")', 1, "`postgres`: `image`: `A` is not an image reference"),
        ('postgres(storage = "big")', 1, "`postgres`: `storage`: `big` is no amount such as"),
        ("postgres(storage = 0)", 1, "`postgres`: `storage` must be more than nothing"),
        ('postgres(env_var = "A B")', 1, "`postgres`: `env_var`: `A B` is no name of a variable"),
        ('postgres(name = "Main")', 1, "`postgres`: `name`: `Main` is no name: lower-case"),
        ('postgres(env = ["A"])', 1, "`postgres(env=)` wants variables such as"),
        ('nats(storage = "1Gi")', 1, "`nats` has no parameter `storage`"),
        ("kafka(port = 9093)", 1, "`kafka`: `port`: `kafka` itself listens on 9093"),
        ('http_get("x")', 1, "`http_get(path=)` must begin with a slash: `/x`"),
        ("grpc(port = 70000)", 1, "`grpc`: `port`: 70000 is more than 65535"),
        ('tcp(period = "1.5s")', 1, "`tcp(period=)` wants whole seconds"),
        ('ingress("")', 1, "`ingress(host=)` is empty"),
        ('ingress("a.b", path_type = "prefix")', 1, "`ingress`: `path_type`: `prefix` is none of"),
        ('secret("my key")', 1, "`my key` cannot be the name of a secret"),
        ('[1, secret("")]', 5, "`secret(name=)` is empty"),
    ],
)
def test_a_part_is_refused_where_it_stands(
    project: Project, call: str, column: int, message: str
) -> None:
    text = project.fails(f"\n\n{call}\n")
    assert text.startswith(f"Kindlingfile:3:{column}: {message}")


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ('service("a", "x", 80, prot = 1)', "port"),
        ('service("a", "x", 80, dependencies = [postgress()])', "postgres"),
        ('service("a", "x", 80, dependencies = ["postgress"])', "postgres"),
        ('service("a", "x", 80, dependencies = [{"type": "postgress"}])', "postgres"),
        ('service("a", "x", 80, dependencies = [{"type": "redis", "prot": 1}])', "port"),
        ('service("a", "x", 80, resources = {"memroy": "1Gi"})', "memory"),
        ('service("a", "x", 80, resources = {"limits": {"memroy": "1Gi"}})', "memory"),
        ('service("a", "x", 80, env = {"A": {"secretkeyRef": {}}})', "secretKeyRef"),
        ('service("a", "x", 80, service_type = "clusterIP")', "ClusterIP"),
        ('dse("a", deployment = {"imagee": "x", "port": 80, "image": "x"})', "image"),
        ('dse("a", deployment = {"image": "x", "port": 80}, service = {"prot": 80})', "port"),
        ('dse("orderz", file = "dev.yaml")', "orders"),
        ('dse("orders", fiel = "dev.yaml")', "file"),
    ],
)
def test_the_nearest_right_thing_is_named(project: Project, text: str, near: str) -> None:
    project.write("dev.yaml", FILE)
    assert f"Did you mean `{near}`?" in project.fails(text)


def test_all_mistakes_of_a_call_come_together(project: Project) -> None:
    text = project.fails(
        'service("api", "x", 0, replicas = 0, dependencies = [{"type": "redis", "prot": 1}])'
    )
    assert text.split("\n") == [
        "Kindlingfile:1:1: service `api` has 3 mistakes",
        '  1 | service("api", "x", 0, replicas = 0, dependencies = [{"type": "redis", "prot": 1}])',
        "    | ^^^^^^^",
        "  `dependencies[0].prot` is not known. Did you mean `port`?",
        "  `port`: 0 is less than 1",
        "  `replicas`: 0 is less than 1",
    ]


def test_a_mistake_in_a_function_names_who_called(project: Project) -> None:
    text = project.fails(
        "def web(name, port):\n"
        '    service(name, "x", port)\n'
        "for name, port in [('a', 80), ('b', 0)]:\n"
        "    web(name, port)\n"
    )
    assert text.startswith("Kindlingfile:2:5: service `b`: `port`: 0 is less than 1")
    assert "called from Kindlingfile:4" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('dse("a")', "dse `a` has neither `file` nor `deployment`"),
        ('dse("a", "x.yaml", {"image": "b"})', "dse `a` has both `file` and `deployment`"),
        ('dse("a", "x.yaml")', "`x.yaml` does not exist"),
        ('dse("a", deployment = "b")', "`dse(deployment=)` wants a dict such as"),
        ('dse("a", deployment = {"image": "b"})', "dse `a` has 2 mistakes"),
        (
            'dse("a", deployment = {"image": "b", "port": 0})',
            "dse `a`: `deployment.port`: 0 is less than 1",
        ),
        (
            'dse("a", deployment = {"image": "b", "port": 1}, service = {"port": 0})',
            "dse `a`: `service.port`: 0 is less than 1",
        ),
        (
            'dse("orders", "dev.yaml", namespace = "x")',
            "dse `orders` is in namespace `y` in `dev.yaml`, not in `x`",
        ),
    ],
)
def test_a_dse(project: Project, text: str, message: str) -> None:
    project.write("dev.yaml", FILE.replace("orders\nspec", "orders\n  namespace: y\nspec"))
    assert project.fails(text).startswith(f"Kindlingfile:1:1: {message}")


# Files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ['dse("orders", file = "dev.yaml")', 'k8s_yaml("dev.yaml")'])
@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ("8080\n", "8080\n    prot: 1\n", "9:5", "`spec.deployment.prot` is not known"),
        (": 80\n", ": 0\n", "10:5", "`spec.service.port`: 0 is less than 1"),
        ("    image: orders\n", "", "6:3", "`spec.deployment.image` is required"),
        ("v1alpha1", "v1", "1:1", "`apiVersion`: `apps.example.com/v1` is not known"),
        (
            ": 80\n",
            ": 80\n  dependencies:\n  - type: redis\n  - {type: redis}\n",
            "13:5",
            "`spec.dependencies[1]` is called `redis`, as spec.dependencies[0] is",
        ),
        (
            ": 80\n",
            ": 80\n  dependencies:\n  - type: rediss\n",
            "12:5",
            "`spec.dependencies[0].type`: `rediss` is none of [postgres, redis,",
        ),
    ],
)
def test_a_mistake_in_a_file_has_its_line_there(
    project: Project, call: str, old: str, new: str, place: str, message: str
) -> None:
    assert old in FILE
    project.write("dev.yaml", FILE.replace(old, new, 1))
    told = project.fails(call)
    start = f"Kindlingfile:1:1: dev.yaml:{place}: DevStagingEnvironment `orders`: {message}"
    assert told.startswith(start)


def test_the_line_is_that_of_the_right_document(project: Project) -> None:
    other = FILE.replace("orders", "stock").replace("port: 80\n", "port: 0\n")
    project.write("dev.yaml", f"# two\n{FILE}---\n{other}")
    text = project.fails('dse("stock", file = "dev.yaml")')
    assert text.startswith("Kindlingfile:1:1: dev.yaml:22:5: DevStagingEnvironment `stock`")


def test_a_document_in_a_list_has_its_line(project: Project) -> None:
    body = "".join(f"  {line}\n" for line in FILE.replace(": 80\n", ": 0\n").splitlines())
    project.write("dev.yaml", f"apiVersion: v1\nkind: List\nitems:\n-{body[1:]}")
    text = project.fails('k8s_yaml("dev.yaml")')
    assert text.startswith("Kindlingfile:1:1: dev.yaml:13:7: DevStagingEnvironment `orders`")


def test_several_mistakes_of_a_file_each_have_a_line(project: Project) -> None:
    project.write("dev.yaml", FILE.replace("8080", "0").replace("port: 80\n", "prt: 80\n"))
    assert project.fails('k8s_yaml("dev.yaml")').split("\n") == [
        "Kindlingfile:1:1: dev.yaml: DevStagingEnvironment `orders` has 3 mistakes",
        '  1 | k8s_yaml("dev.yaml")',
        "    | ^^^^^^^^",
        "  dev.yaml:10:5: `spec.service.prt` is not known. Did you mean `port`?",
        "  dev.yaml:8:5: `spec.deployment.port`: 0 is less than 1",
        "  dev.yaml:9:3: `spec.service.port` is required",
    ]


def test_contents_without_a_file_have_lines_too(project: Project) -> None:
    wrong = FILE.replace(": 80\n", ": 0\n")
    text = project.fails(f"k8s_yaml(blob('''{wrong}'''))")
    assert text.startswith("Kindlingfile:1:1: YAML:10:5: DevStagingEnvironment `orders`")


# Two of them --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'service("a", "x", 1)\nservice("a", "y", 2)',
            "an environment `a` is declared twice",
        ),
        (
            'service("orders", "x", 1)\nk8s_yaml("dev.yaml")',
            "an environment `orders` is declared twice",
        ),
        (
            'service("a", "x", 1, ingress = "h")\nservice("b", "y", 2, ingress = "h")',
            "`a` and `b` are both at `h`",
        ),
        (
            'service("a", "x", 1, ingress = ingress("h", path = "/v1"))\n'
            'service("b", "y", 2, ingress = ingress("h", path = "/v1"))',
            "`a` and `b` are both at `h/v1`",
        ),
        (
            'service("a", "x", 1, dependencies = [redis()])\nservice("a-redis", "y", 2)',
            "the Service of `a-redis` would be called `a-redis`, as the dependency `redis` of `a`",
        ),
        (
            'service("a.b", "x", 1)\nservice("a-b", "y", 2)',
            "the Service of `a-b` would be called `a-b`, as the Service of `a.b` is",
        ),
        (
            'service("a", "x", 1)\nk8s_yaml("service.yaml")',
            "the Service `a` has the name of the Service of `a`",
        ),
    ],
)
def test_two_that_want_the_same(project: Project, text: str, message: str) -> None:
    project.write("dev.yaml", FILE)
    project.write("service.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n")
    told = project.fails(text)
    assert told.startswith(f"Kindlingfile:2:1: {message}")
    assert "Kindlingfile:1:1" in told


@pytest.mark.parametrize(
    "text",
    [
        'service("a", "x", 1)\nservice("a", "y", 2, namespace = "far")',
        'service("a", "x", 1, ingress = "h")\n'
        'service("b", "y", 2, ingress = ingress("h", path = "/v1"))',
        'service("a", "x", 1, ingress = "h")\nservice("b", "y", 2, ingress = "i")',
        'service("a", "x", 1, ingress = "h")\n'
        'dse("b", deployment = {"image": "y", "port": 2}, '
        'ingress = {"enabled": False, "host": "h"})',
    ],
)
def test_two_that_do_not(project: Project, text: str) -> None:
    assert len(project.evaluate(text).environments) == 2


def test_a_volume_that_would_not_be_made_is_told(project: Project) -> None:
    """No mistake for the kind itself, whose manifests may say so; the builtin takes none."""
    text = 'service("a", "x", 80, dependencies = [{"type": "nats", "storageSize": "1Gi"}])'
    (remark,) = project.evaluate(text).remarks
    assert str(remark) == (
        "Kindlingfile:1:1: service `a`: `dependencies[0].storageSize`: `nats` keeps nothing on "
        "disk; no volume is made"
    )


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("$(DATABSE_URL)", True),
        ("x-$(DATABASE_URL)-$(DATABASE_URI)", True),
        ("$(DATABASE_URL)", False),
        ("$(OTHER)", False),
        ("$$(DATABSE_URL)", False),
        ("$(API_SERVICE_HOST)", False),
    ],
)
def test_a_reference_to_nothing_that_is_nearly_one_is_told(
    project: Project, value: str, told: bool
) -> None:
    """The kubelet leaves such a text as it is, and the program gets it."""
    env = f'{{"OTHER": "a", "B": "{value}"}}'
    declared = project.evaluate(
        f'service("api", "x", 80, dependencies = [postgres()], env = {env})'
    )
    texts = [str(remark) for remark in declared.remarks]
    assert len(texts) == told
    for text in texts:
        assert text.startswith("Kindlingfile:1:1: service `api`: `env.B` refers to `$(DATAB")
        assert text.endswith("which nothing sets. Did you mean `DATABASE_URL`?")


@pytest.mark.parametrize(
    "declared",
    [
        'service("api", "x", 80, dependencies = [postgres(env = {NAME: "x"})])',
        'dse("api", deployment = {"image": "x", "port": 80},'
        ' dependencies = [{"type": "postgres", "env": [{"name": NAME, "value": "x"}]}])',
    ],
)
def test_a_password_under_a_misspelt_name_is_told(project: Project, declared: str) -> None:
    """The server would be given another one, and say nothing of this."""
    (remark,) = project.evaluate(f'NAME = "POSTGRES_PASS"\n{declared}').remarks
    assert str(remark).endswith(
        "sets `POSTGRES_PASS`, of which postgres knows nothing. Did you mean `POSTGRES_PASSWORD`?"
    )
