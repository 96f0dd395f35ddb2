"""The language of a Kindlingfile: every name it offers besides Starlark's own; for editors, and the
source of its reference.

Relative paths are seen from the folder of
the file that is being executed. A *command* is a text for the shell or a list that is the argument
vector itself. *Patterns* are those of `.dockerignore`. Where one text will do, a list of one is not
needed. Times are in seconds, or a text such as `90s`, `5m` or `1h30m` where that is said.
"""

from collections.abc import Callable
from typing import Any, NoReturn

class Blob:
    """Contents rather than a path: what `blob`, `read_file`, `local`, `helm` and others give.

    `str(b)` is its text. `type(b)` is `"blob"`.
    """

class LiveUpdateStep:
    """What `sync`, `run` and the other steps give."""

class Link:
    """What `link` gives."""

class PortForward:
    """What `port_forward` gives."""

class Probe:
    """What `probe` gives."""

class ProbeAction:
    """What `exec_action`, `http_get_action` and `tcp_socket_action` give."""

class TriggerMode:
    """Whether changes run a resource by themselves."""

class Dependency:
    """What `postgres` and its kin give."""

class HealthCheck:
    """What `http_get`, `grpc` and `tcp` give."""

class IngressRule:
    """What `ingress` gives."""

class SecretReference:
    """What `secret` gives."""

Command = str | list[str]
Texts = str | list[str]
Env = dict[str, str | int | float | SecretReference | dict[str, Any]]
Yaml = str | Blob | list[str | Blob]

# == The session ==

def cluster(
    provider: str = "auto",
    name: str = "",
    registry: bool | str | None = None,
    ingress: bool = False,
    namespace: str = "",
) -> None:
    """Say which cluster this file is for. At most once; without it, the provider is `auto`.

    provider: `auto` (the current context, which must be a known local cluster or allowed; where
        the kubeconfig names none, the embedded cluster), `context` (any context of the
        kubeconfig, or the current one) or `embedded` (kindling's own cluster, which `up` and `ci`
        start when it does not run; see `docs/embedded.md`).
    name: for `embedded` which of them, `kindling` when empty; else the context.
    registry: True when images need one; a text names it, such as `localhost:5000`.
    ingress: True when the cluster must serve Ingress objects.
    namespace: where objects go that name no namespace. One that is missing is made, also where an
        object names it, and stays when the objects go.
    """

def profile(name: str, help: str = "") -> bool:
    """True when `name` was given after `--`: `kindling up -- triggers`.

    A word that no profile of the file has is refused, with the list of those there are.

    name: letters, digits, `-`, `_` and `.`.
    help: one line on what it switches on.
    """

def allow_k8s_contexts(contexts: Texts) -> None:
    """Allow contexts that are not known to be local clusters.

    contexts: names of kubeconfig contexts.
    """

def k8s_context(*args: Any) -> str:
    """The name of the context that is used, empty when there is none. Arguments are ignored."""

def k8s_namespace(*args: Any) -> str:
    """The namespace of objects that name none. Arguments are ignored."""

TRIGGER_MODE_AUTO: TriggerMode
"""A change of files runs the resource."""

TRIGGER_MODE_MANUAL: TriggerMode
"""A change of files waits until `kindling trigger` asks for the resource."""

def trigger_mode(mode: TriggerMode) -> None:
    """Set the trigger mode of every resource that names none. At most once.

    mode: `TRIGGER_MODE_AUTO` or `TRIGGER_MODE_MANUAL`.
    """

def update_settings(
    max_parallel_updates: int | None = None,
    k8s_upsert_timeout_secs: float | None = None,
    suppress_unused_image_warnings: Texts | None = None,
    k8s_server_side_apply: str | None = None,
) -> None:
    """Limit how updates run. Later calls change only what they name.

    max_parallel_updates: how many builds, applies and commands run at once; at least 1.
    k8s_upsert_timeout_secs: seconds for applying the objects of one resource; at least 1.
    suppress_unused_image_warnings: images that nothing uses and that are fine so; `*` is any text.
    k8s_server_side_apply: accepted for Tilt's sake; kindling always applies on the server's side.
    """

def ci_settings(
    k8s_grace_period: str | float | None = None,
    timeout: str | float | None = None,
    readiness_timeout: str | float | None = None,
) -> None:
    """Limit `kindling ci`. Times are seconds or texts such as `5m`; 0 switches a limit off.

    k8s_grace_period: how long after a deploy errors of pods may still heal.
    timeout: the whole run; 30 minutes when not set.
    readiness_timeout: one resource becoming ready; 5 minutes when not set.
    """

def watch_settings(ignore: Texts = []) -> None:
    """Leave files unwatched. Builds still see them. Calls add up.

    So do the patterns in `.kindlingignore` and `.tiltignore` beside the main file.

    ignore: patterns, relative to this file's folder.
    """

def secret_settings(disable_scrub: bool = False) -> None:
    """Say whether values of Secrets are kept out of logs.

    disable_scrub: True shows them.
    """

def version_settings(check_updates: bool = True, constraint: str = "") -> None:
    """Accepted for Tilt's sake, and ignored.

    check_updates: ignored.
    constraint: a demand on Tilt's version, ignored with a notice.
    """

# == Images ==

def docker_build(
    ref: str,
    context: str,
    build_args: dict[str, str] = {},
    dockerfile: str | None = None,
    dockerfile_contents: str | Blob | None = None,
    live_update: LiveUpdateStep | list[LiveUpdateStep] = [],
    match_in_env_vars: bool = False,
    ignore: Texts = [],
    only: Texts = [],
    entrypoint: Command = [],
    target: str = "",
    ssh: Texts = [],
    network: str = "",
    secret: Texts = [],
    extra_tag: Texts = [],
    container_args: list[str] | None = None,
    cache_from: Texts = [],
    pull: bool = False,
    platform: str = "",
    extra_hosts: Texts = [],
) -> None:
    """Build an image from a Dockerfile. Every file of the context is an input, less what is
    ignored.

    ref: the name under which manifests know the image.
    context: the folder that is sent to the builder. Its `.dockerignore` counts.
    build_args: values for the Dockerfile's `ARG`s.
    dockerfile: the Dockerfile, when it is not `Dockerfile` in the context.
    dockerfile_contents: the text of the Dockerfile, instead of a file.
    live_update: how to change a running container instead of building anew.
    match_in_env_vars: also replace the image in environment values of manifests.
    ignore: patterns of files that are no input, relative to the context.
    only: paths in the context that are inputs; nothing else is. No patterns.
    entrypoint: the command of the container, instead of the image's and the manifest's.
    target: the stage of the Dockerfile to build.
    ssh: agents and keys for `RUN --mount=type=ssh`, such as `default`.
    network: the network of `RUN` commands.
    secret: secrets for `RUN --mount=type=secret`, such as `id=token,src=token.txt`.
    extra_tag: further references to give to the image.
    container_args: the arguments of the container, instead of the manifest's.
    cache_from: images whose layers may be reused.
    pull: True asks the registry for newer base images.
    platform: such as `linux/arm64`; the machine's own when empty.
    extra_hosts: entries `name:address` for `/etc/hosts` of `RUN` commands.
    """

def custom_build(
    ref: str,
    command: Command,
    deps: Texts = [],
    tag: str = "",
    disable_push: bool = False,
    skips_local_docker: bool = False,
    live_update: LiveUpdateStep | list[LiveUpdateStep] = [],
    match_in_env_vars: bool = False,
    ignore: Texts = [],
    entrypoint: Command = [],
    container_args: list[str] | None = None,
    command_bat_val: str = "",
    outputs_image_ref_to: str = "",
    command_bat: str = "",
    image_deps: Texts = [],
    env: dict[str, str] = {},
    dir: str = "",
) -> None:
    """Build an image with any command. `$EXPECTED_REF` tells it what to make.

    It also gets `EXPECTED_IMAGE`, `EXPECTED_TAG` and `EXPECTED_REGISTRY`, and `TILT_IMAGE_0`... for
    `image_deps`.

    ref: the name under which manifests know the image.
    command: what builds it.
    deps: the files and folders that it reads.
    tag: the tag that the command always builds, when it does not use `$EXPECTED_REF`.
    disable_push: the image needs no push, because the command brings it where it must be.
    skips_local_docker: the image is not in the local Docker engine afterwards.
    live_update: how to change a running container instead of building anew.
    match_in_env_vars: also replace the image in environment values of manifests.
    ignore: patterns of files that are no input, relative to each of `deps`.
    entrypoint: the command of the container, instead of the image's and the manifest's.
    container_args: the arguments of the container, instead of the manifest's.
    command_bat_val: for Windows; ignored.
    outputs_image_ref_to: a file to which the command writes the reference that it built.
    command_bat: for Windows; ignored.
    image_deps: images of this file that the command needs.
    env: more environment variables.
    dir: the folder that the command runs in.
    """

def default_registry(host: str, host_from_cluster: str = "", single_name: str = "") -> None:
    """Send all images to a registry. At most once.

    host: the registry as this machine knows it, such as `localhost:5000` or `ghcr.io/acme`.
    host_from_cluster: the registry as the cluster knows it, when that differs.
    single_name: the one repository for all images, with their names in the tags.
    """

# == Live update ==

"""
Files that are saved while `kindling up` runs go straight into running containers, where something
says how: `live_update=[...]` of an image, or `sync=[...]` of a `service` or `dse`. Such a workload has two nodes
more: `sync:NAME`, which carries, and `rollback:NAME`, which puts back what that changed in the cluster. What
becomes of a saved file:

| the file | what happens |
|---|---|
| in a `sync` step | it is carried; the image is not built |
| in `fall_back_on`, or the image's Dockerfile | the image is built; `kindling why image:NAME` says which file |
| of the image, and in no `sync` step | the image is built |
| ignored by every `sync` step over it | nothing |
| any of these, while there is no session (its pods failed, the cluster refused) | the image is built |

What is carried is not in the image, so that the next start builds the image anew, once. A workload is carried into when it is a
Deployment or a StatefulSet; an image that a Job or a second container of a pod runs too is built for every
change. In a session that ends by itself (`ci`, `up --once`) an image that was just built needs nothing, and a prebuilt one gets
its files once and is put back at the end. With a manual trigger mode, what was saved waits for `kindling trigger NAME`.

`live_update` does what its steps say and no more. `sync=` of a service finds out what runs and does what new files need to have effect: a signal,
a restart, a build on this machine ([how](sync.md)). Of a prebuilt image's files it leaves out what tools make for the machine they run on (`node_modules`, `dist`,
`.venv` and [more](sync.md#what-is-carried)); `ignore = ["!**/dist"]` takes one in again.

```python
docker_build(
    "web",
    "web",
    live_update=[
        fall_back_on("web/package.json"),
        sync("web/src", "/app/src"),
        run("touch /app/reloaded"),
    ],
)

service(
    "api",
    image="python:3.12-slim",
    command=[
        "sh",
        "-c",
        "until [ -e /app/main.py ]; do sleep 0.1; done; exec python -u /app/main.py",
    ],
    port=8080,
    sync=[sync("api", "/app", ignore=["tests/"])],
)
```

Files go into containers that run. An image that does not hold the program begins with a command that waits for it, as above;
without it the pod fails, and nothing is carried.
"""

def sync(local_path: str, remote_path: str, ignore: Texts = []) -> LiveUpdateStep:
    """Copy changed files into the container.

    local_path: a file or folder of the image's inputs.
    remote_path: the absolute path it has in the container.
    ignore: patterns of files to leave out, relative to `local_path`.
    """

def run(cmd: Command, trigger: Texts = [], echo_off: bool = False) -> LiveUpdateStep:
    """Run a command in the container after files were copied.

    cmd: the command.
    trigger: run it only when one of these files changed.
    echo_off: do not log the command.
    """

def fall_back_on(files: Texts) -> LiveUpdateStep:
    """Build anew when one of these files changes.

    files: files or folders of the image's inputs.
    """

def initial_sync() -> LiveUpdateStep:
    """Copy all synced files when a container starts. The first step, if any."""

def restart_container() -> LiveUpdateStep:
    """Start the container's program anew after the other steps. The last step, if any.

    Unlike Tilt's, it is for Kubernetes: kindling's supervisor does it within milliseconds, and the
    container goes on."""

# == Kubernetes ==

def k8s_yaml(yaml: Yaml, allow_duplicates: bool = False) -> None:
    """Deploy objects. Files are watched.

    yaml: paths of YAML files, or blobs of YAML.
    allow_duplicates: an object may be declared again; the last one counts.
    """

def k8s_resource(
    workload: str = "",
    new_name: str = "",
    port_forwards: int | str | PortForward | list[int | str | PortForward] = [],
    extra_pod_selectors: dict[str, str] | list[dict[str, str]] = [],
    trigger_mode: TriggerMode | None = None,
    resource_deps: Texts = [],
    objects: Texts = [],
    auto_init: bool | None = None,
    pod_readiness: str = "",
    links: str | Link | list[str | Link] = [],
    labels: Texts = [],
    discovery_strategy: str = "",
    recreate: bool | None = None,
) -> None:
    """Configure a workload, or make a resource of objects. Calls for one workload add up.

    workload: the name of the workload.
    new_name: what the resource is called from now on.
    port_forwards: local ports that lead to the pod: `8080`, `"8080:80"`, `"host:8080:80"`.
    extra_pod_selectors: labels of further pods that belong to the workload.
    trigger_mode: whether changes deploy by themselves.
    resource_deps: resources that must be ready first.
    objects: objects that belong to the resource: `name`, `name:kind`, `name:kind:namespace`,
        `name:kind:namespace:group`; without regard to case.
    auto_init: False leaves it alone until it is triggered or a file changes.
    pod_readiness: `wait` for pods to be ready, `ignore` them, or `succeeded` for pods that end.
    links: addresses to show.
    labels: groups that the resource is shown in.
    discovery_strategy: `default`, or `selectors-only` to find pods by selectors alone.
    recreate: True allows deleting an object to change a field that cannot be changed.
    """

def k8s_custom_deploy(
    name: str,
    apply_cmd: Command,
    delete_cmd: Command,
    deps: Texts,
    image_selector: str = "",
    live_update: LiveUpdateStep | list[LiveUpdateStep] = [],
    apply_dir: str = "",
    apply_env: dict[str, str] = {},
    apply_cmd_bat: str = "",
    delete_dir: str = "",
    delete_env: dict[str, str] = {},
    delete_cmd_bat: str = "",
    container_selector: str = "",
    image_deps: Texts = [],
) -> None:
    """Deploy with any command, which prints the objects that it applied as YAML.

    name: the name of the resource.
    apply_cmd: deploys. `KUBECONFIG` is set for it.
    delete_cmd: removes what was deployed.
    deps: files and folders that `apply_cmd` reads.
    image_selector: containers of this image are live-updated.
    live_update: how to change a running container instead of deploying anew.
    apply_dir: the folder that `apply_cmd` runs in.
    apply_env: more environment variables for `apply_cmd`.
    apply_cmd_bat: for Windows; ignored.
    delete_dir: the folder that `delete_cmd` runs in.
    delete_env: more environment variables for `delete_cmd`.
    delete_cmd_bat: for Windows; ignored.
    container_selector: containers of this name are live-updated.
    image_deps: images of this file, given to `apply_cmd` as `TILT_IMAGE_0`...
    """

def k8s_kind(
    kind: str,
    api_version: str = "",
    image_json_path: Texts = [],
    image_object: dict[str, str] = {},
    pod_readiness: str = "",
) -> None:
    """Say that objects of a custom kind are workloads, and where their images are.

    kind: a regular expression for the kind, without regard to case.
    api_version: a regular expression for the apiVersion.
    image_json_path: JSON paths of images, such as `{.spec.image}`.
    image_object: an image in two fields: `json_path`, `repo_field` and `tag_field`.
    pod_readiness: `wait`, `ignore` or `succeeded`, as in `k8s_resource`.
    """

def k8s_image_json_path(
    paths: Texts, api_version: str = "", kind: str = "", name: str = "", namespace: str = ""
) -> None:
    """Say where objects have images besides their containers.

    paths: JSON paths of images, such as `{.spec.image}`.
    api_version: a regular expression for the apiVersion.
    kind: a regular expression for the kind.
    name: a regular expression for the name.
    namespace: a regular expression for the namespace.
    """

def workload_to_resource_function(fn: Callable[[Any], str]) -> None:
    """Name resources by a function.

    fn: takes a value with `name`, `kind`, `namespace` and `group`, and returns the resource's name.
    """

def filter_yaml(
    yaml: Yaml,
    labels: dict[str, str] = {},
    name: str = "",
    namespace: str = "",
    kind: str = "",
    api_version: str = "",
) -> tuple[Blob, Blob]:
    """Divide objects into those that match everything given, and the rest.

    yaml: paths of YAML files, or blobs of YAML.
    labels: labels that an object must have.
    name: a regular expression for the name; these are found anywhere and without regard to case.
    namespace: a regular expression for the namespace.
    kind: a regular expression for the kind.
    api_version: a regular expression for the apiVersion.
    """

def secret_if_absent(
    name: str,
    namespace: str = "",
    literals: dict[str, str] = {},
    type: str = "Opaque",
    labels: Texts = [],
) -> None:
    """Create a Secret when it does not exist. One that exists is never touched.

    name: the name of the Secret.
    namespace: its namespace; the target's when empty.
    literals: keys and values, as texts.
    type: the type of the Secret.
    labels: groups that it is shown in.
    """

def port_forward(
    local_port: int, container_port: int = 0, name: str = "", link_path: str = "", host: str = ""
) -> PortForward:
    """A port-forward for `k8s_resource`.

    local_port: the port on this machine.
    container_port: the port of the container; its first declared port when 0.
    name: what its link is called.
    link_path: the path that its link ends in.
    host: the local address to listen on; `localhost` when empty.
    """

def link(url: str, name: str = "") -> Link:
    """An address to show beside a resource.

    url: the address; `http://` when it has no scheme.
    name: what it is called.
    """

# == Services and environments ==

"""
A service is declared with what it needs, and a staging environment stands there, wired:

```starlark
docker_build("shop", "shop")

service(
    "shop",
    image = "shop",
    port = 8080,
    health = http_get("/healthz"),
    ingress = "shop.localhost",
    dependencies = [postgres(version = "16", storage = "1Gi"), redis()],
    env = {"STRIPE_KEY": secret("STRIPE_KEY"), "DB": "$(DATABASE_URL)&application_name=shop"},
    port_forwards = "8000:8080",
)
```

This makes a Deployment and a Service `shop`, an Ingress for `shop.localhost`, and a Postgres and a
Redis that are `shop`'s alone, reached at `shop-postgres` and `shop-redis`. The container gets
`DATABASE_URL` and `REDIS_URL`, and starts once both can be connected to. Passwords are drawn once
and kept in the Secret `shop-postgres-credentials`; your own in `env` of a dependency win. Data stay
when pods go where `storage` says so. Variables in `env` come after those of dependencies: they win,
and `$(NAME)` refers to them.

A service is a resource like any other: `k8s_resource` adds to it, `resource_deps` orders it, names
on the command line select it, `kindling down` takes it away.

```starlark
service("db-admin", "adminer:4.8.1", 8080, labels = "tools", auto_init = False)
service("stock", "ghcr.io/acme/stock:1", 80, dependencies = ["nats"])
service("shop", "ghcr.io/acme/shop:1", 80, resource_deps = ["stock"], env = {"STOCK": "http://stock"})
k8s_resource("shop", port_forwards = ["8000:80"], links = ["https://wiki.acme.example/shop"])
```

Two dependencies must not have one name, nor set one variable. Tell them apart by `name`, which
comes before the variables too, or by `env_var`:

```starlark
service(
    "mail",
    "ghcr.io/acme/mail:1",
    8080,
    dependencies = [
        postgres(),  # DATABASE_URL
        mysql(env_var = "LEGACY_URL"),
        redis(),  # REDIS_URL
        redis(name = "sessions"),  # SESSIONS_REDIS_URL, at mail-sessions
    ],
)
```

Behind a service is an object of the kind DevStagingEnvironment (`apps.example.com/v1alpha1`). An
operator reconciles it: one inside the session, or the one that `kindling operator install` has put
into the cluster. `dse` takes such objects as they are, by a file or by their own fields, and
`k8s_yaml` takes all that a file holds:

```starlark
dse("orders", file = "orders/dev-environment.yaml", resource_deps = ["billing"])

dse(
    "billing",
    deployment = {"image": "ghcr.io/acme/billing:1", "port": 8080, "replicas": 2},
    service = {"port": 80},
    ingress = {"host": "billing.localhost", "path": "/v1"},
    dependencies = [{"type": "rabbitmq", "port": 5673}],
)

k8s_yaml("platform.yaml")
```

What no cluster could run is refused before anything runs, all mistakes of a declaration together,
and those in a file with their lines there:

```text
Kindlingfile:1:1: dev-environment.yaml: DevStagingEnvironment `orders` has 2 mistakes
  1 | dse("orders", file = "dev-environment.yaml")
    | ^^^
  dev-environment.yaml:8:5: `spec.deployment.prot` is not known. Did you mean `port`?
  dev-environment.yaml:6:3: `spec.deployment.port` is required
```
"""

def service(
    name: str,
    image: str,
    port: int,
    env: Env = {},
    dependencies: str | Dependency | list[str | Dependency | dict[str, Any]] = [],
    health: HealthCheck | None = None,
    ingress: str | IngressRule | dict[str, Any] | None = None,
    replicas: int | None = None,
    resources: dict[str, Any] = {},
    command: Command = [],
    args: Texts = [],
    service_port: int | None = None,
    service_type: str = "",
    namespace: str = "",
    labels: Texts = [],
    resource_deps: Texts = [],
    port_forwards: int | str | PortForward | list[int | str | PortForward] = [],
    links: str | Link | list[str | Link] = [],
    trigger_mode: TriggerMode | None = None,
    auto_init: bool | None = None,
    sync: LiveUpdateStep | list[LiveUpdateStep] = [],
) -> None:
    """Declare a service with what it needs: a DevStagingEnvironment.

    It becomes a Deployment and a Service of its name, an Ingress where one is asked for, and for
    each dependency a server of its own. The service is told where those are by environment
    variables, and starts once they can be reached. `k8s_resource` configures it like any workload.

    name: the name of the service, and its host name in the cluster.
    image: an image of this file, or any other.
    port: where the container listens.
    env: variables: a dict of texts, numbers, `secret()`s and dicts such as
        `{"fieldRef": {"fieldPath": "metadata.name"}}`. They win over what dependencies set, and may
        refer to it: `"$(DATABASE_URL)"`.
    dependencies: the backing services it needs: `postgres()` and its kin, or just their names.
    health: how it says that it is well: `http_get()`, `grpc()` or `tcp()`. Without it, a container
        that runs counts as ready.
    ingress: the host it is reached at from outside, or `ingress()`.
    replicas: how many run, 1 when not given.
    resources: `cpu` and `memory`: what is set aside, such as `"100m"`, or that and what may be
        used: `["100m", "1"]`. Also `requests` and `limits` as in a container, or `cpuRequest`,
        `cpuLimit`, `memoryRequest` and `memoryLimit`.
    command: what runs instead of the image's entrypoint.
    args: its arguments.
    service_port: where the Service listens, when that is not `port`.
    service_type: `ClusterIP`, `NodePort` or `LoadBalancer`.
    namespace: where it goes, when not to the namespace of the session.
    labels: groups that it is shown in.
    resource_deps: resources that must be ready first.
    port_forwards: local ports that lead to the pod: `8080`, `"8080:80"`, `"host:8080:80"`.
    links: addresses to show. That of the ingress is shown by itself.
    trigger_mode: whether changes deploy by themselves.
    auto_init: False leaves it alone until it is triggered or a file changes.
    sync: files that go into the running container when they are saved: `[sync("./src", "/app")]`,
        with any step that `live_update` may have. What has to be done for new files to have effect
        (a signal, a restart, a build on this machine) is found out from what runs.
    """

def dse(
    name: str,
    file: str | Blob = "",
    deployment: dict[str, Any] = {},
    service: dict[str, Any] = {},
    ingress: str | IngressRule | dict[str, Any] | None = None,
    dependencies: str | Dependency | list[str | Dependency | dict[str, Any]] = [],
    namespace: str = "",
    labels: Texts = [],
    resource_deps: Texts = [],
    port_forwards: int | str | PortForward | list[int | str | PortForward] = [],
    links: str | Link | list[str | Link] = [],
    trigger_mode: TriggerMode | None = None,
    auto_init: bool | None = None,
    sync: LiveUpdateStep | list[LiveUpdateStep] = [],
) -> None:
    """Declare a DevStagingEnvironment by a manifest or by its own fields.

    `service` says the same in fewer words. A DevStagingEnvironment in `k8s_yaml` is one too.

    name: its `metadata.name`.
    file: a YAML file, which may hold several. Its mistakes are shown with their lines.
    deployment: the field `spec.deployment`. `env` and `resources` may be as in `service`, and
        `healthCheck` may be `http_get()` or its kin.
    service: the field `spec.service`. Its port is the container's when not given.
    ingress: the field `spec.ingress`, which is on unless it says `"enabled": False`; or as in
        `service`.
    dependencies: the entries of `spec.dependencies`, or as in `service`.
    namespace: where it goes, when the file names none and it is not that of the session.
    labels: groups that it is shown in.
    resource_deps: resources that must be ready first.
    port_forwards: local ports that lead to the pod: `8080`, `"8080:80"`, `"host:8080:80"`.
    links: addresses to show. That of the ingress is shown by itself.
    trigger_mode: whether changes deploy by themselves.
    auto_init: False leaves it alone until it is triggered or a file changes.
    sync: files that go into the running container when they are saved, as in `service`.
    """

def secret(name: str) -> SecretReference:
    """A secret of yours as the value of a variable: what `kindling secrets set` was given.

    name: the name of the secret, such as `STRIPE_KEY`.
    """

def ingress(
    host: str,
    path: str = "/",
    path_type: str = "Prefix",
    class_name: str = "",
    tls_secret: str = "",
    annotations: dict[str, str] = {},
) -> IngressRule:
    """How a service is reached from outside, for the argument of the same name.

    host: the host, such as `shop.localhost`; `*.example.com` is any below it.
    path: the path, which begins with a slash.
    path_type: `Prefix`, `Exact` or `ImplementationSpecific`.
    class_name: which ingress controller; the cluster's default when empty.
    tls_secret: the Secret with the certificate, where there is one.
    annotations: annotations of the Ingress.
    """

def http_get(
    path: str = "/healthz",
    port: int | None = None,
    initial_delay: str | float | None = None,
    period: str | float | None = None,
) -> HealthCheck:
    """A service is well while this path answers with a status below 400.

    path: the path, which begins with a slash.
    port: where it is asked, when not at the service's port.
    initial_delay: how long after its start it is asked first; 5 s when not given.
    period: how often it is asked; every 10 s when not given.
    """

def grpc(
    port: int | None = None,
    initial_delay: str | float | None = None,
    period: str | float | None = None,
) -> HealthCheck:
    """A service is well while gRPC's health protocol says so. Needs Kubernetes 1.24.

    port: where it is asked, when not at the service's port.
    initial_delay: how long after its start it is asked first; 5 s when not given.
    period: how often it is asked; every 10 s when not given.
    """

def tcp(
    port: int | None = None,
    initial_delay: str | float | None = None,
    period: str | float | None = None,
) -> HealthCheck:
    """A service is well while its port can be connected to.

    port: which port, when not the service's.
    initial_delay: how long after its start it is asked first; 5 s when not given.
    period: how often it is asked; every 10 s when not given.
    """

def postgres(
    version: str | int = "",
    image: str = "",
    port: int | None = None,
    env: Env = {},
    env_var: str = "",
    storage: str = "",
    resources: dict[str, Any] = {},
    name: str = "",
) -> Dependency:
    """PostgreSQL. It sets `DATABASE_URL`.

    version: the tag of its image; `16.4` when empty.
    image: another image than `postgres`.
    port: where it listens; 5432 when not given.
    env: variables of its container, as in `service`.
    env_var: what the variable with its address is called, when not `DATABASE_URL`.
    storage: how large a volume keeps its data, such as `1Gi`; without it, data goes with the pod.
    resources: CPU and memory, as in `service`.
    name: what tells two of one type apart; it comes before the names of their variables.
    """

def redis(
    version: str | int = "",
    image: str = "",
    port: int | None = None,
    env: Env = {},
    env_var: str = "",
    storage: str = "",
    resources: dict[str, Any] = {},
    name: str = "",
) -> Dependency:
    """Redis. It sets `REDIS_URL`.

    version: the tag of its image; `7.4.1` when empty.
    image: another image than `redis`.
    port: where it listens; 6379 when not given.
    env: variables of its container, as in `service`.
    env_var: what the variable with its address is called, when not `REDIS_URL`.
    storage: how large a volume keeps its data, such as `1Gi`; without it, data goes with the pod.
    resources: CPU and memory, as in `service`.
    name: what tells two of one type apart; it comes before the names of their variables.
    """

def mysql(
    version: str | int = "",
    image: str = "",
    port: int | None = None,
    env: Env = {},
    env_var: str = "",
    storage: str = "",
    resources: dict[str, Any] = {},
    name: str = "",
) -> Dependency:
    """MySQL. It sets `DATABASE_URL`.

    version: the tag of its image; `8.4.3` when empty.
    image: another image than `mysql`.
    port: where it listens; 3306 when not given.
    env: variables of its container, as in `service`.
    env_var: what the variable with its address is called, when not `DATABASE_URL`.
    storage: how large a volume keeps its data, such as `1Gi`; without it, data goes with the pod.
    resources: CPU and memory, as in `service`.
    name: what tells two of one type apart; it comes before the names of their variables.
    """

def mongodb(
    version: str | int = "",
    image: str = "",
    port: int | None = None,
    env: Env = {},
    env_var: str = "",
    storage: str = "",
    resources: dict[str, Any] = {},
    name: str = "",
) -> Dependency:
    """MongoDB. It sets `MONGO_URL`.

    version: the tag of its image; `7.0.15` when empty.
    image: another image than `mongo`.
    port: where it listens; 27017 when not given.
    env: variables of its container, as in `service`.
    env_var: what the variable with its address is called, when not `MONGO_URL`.
    storage: how large a volume keeps its data, such as `1Gi`; without it, data goes with the pod.
    resources: CPU and memory, as in `service`.
    name: what tells two of one type apart; it comes before the names of their variables.
    """

def rabbitmq(
    version: str | int = "",
    image: str = "",
    port: int | None = None,
    env: Env = {},
    env_var: str = "",
    storage: str = "",
    resources: dict[str, Any] = {},
    name: str = "",
) -> Dependency:
    """RabbitMQ, with its management page. It sets `AMQP_URL`.

    version: the tag of its image; `3.13.7-management` when empty.
    image: another image than `rabbitmq`.
    port: where it listens; 5672 when not given.
    env: variables of its container, as in `service`.
    env_var: what the variable with its address is called, when not `AMQP_URL`.
    storage: how large a volume keeps its data, such as `1Gi`; without it, data goes with the pod.
    resources: CPU and memory, as in `service`.
    name: what tells two of one type apart; it comes before the names of their variables.
    """

def minio(
    version: str | int = "",
    image: str = "",
    port: int | None = None,
    env: Env = {},
    env_var: str = "",
    storage: str = "",
    resources: dict[str, Any] = {},
    name: str = "",
) -> Dependency:
    """MinIO, a store that speaks S3. It sets `S3_ENDPOINT`, `S3_ACCESS_KEY`, `S3_SECRET_KEY`.

    version: the tag of its image; `RELEASE.2024-10-13T13-34-11Z` when empty.
    image: another image than `minio/minio`.
    port: where it listens; 9000 when not given.
    env: variables of its container, as in `service`.
    env_var: what the variable with its address is called, when not `S3_ENDPOINT`.
    storage: how large a volume keeps its data, such as `1Gi`; without it, data goes with the pod.
    resources: CPU and memory, as in `service`.
    name: what tells two of one type apart; it comes before the names of their variables.
    """

def elasticsearch(
    version: str | int = "",
    image: str = "",
    port: int | None = None,
    env: Env = {},
    env_var: str = "",
    storage: str = "",
    resources: dict[str, Any] = {},
    name: str = "",
) -> Dependency:
    """Elasticsearch. It sets `ELASTICSEARCH_URL`.

    version: the tag of its image; `8.12.0` when empty.
    image: another image than `docker.elastic.co/elasticsearch/elasticsearch`.
    port: where it listens; 9200 when not given.
    env: variables of its container, as in `service`.
    env_var: what the variable with its address is called, when not `ELASTICSEARCH_URL`.
    storage: how large a volume keeps its data, such as `1Gi`; without it, data goes with the pod.
    resources: CPU and memory, as in `service`.
    name: what tells two of one type apart; it comes before the names of their variables.
    """

def kafka(
    version: str | int = "",
    image: str = "",
    port: int | None = None,
    env: Env = {},
    env_var: str = "",
    storage: str = "",
    resources: dict[str, Any] = {},
    name: str = "",
) -> Dependency:
    """Kafka, one broker. It sets `KAFKA_BROKER_URL`.

    version: the tag of its image; `3.8.0` when empty.
    image: another image than `apache/kafka`.
    port: where it listens; 9092 when not given.
    env: variables of its container, as in `service`.
    env_var: what the variable with its address is called, when not `KAFKA_BROKER_URL`.
    storage: how large a volume keeps its data, such as `1Gi`; without it, data goes with the pod.
    resources: CPU and memory, as in `service`.
    name: what tells two of one type apart; it comes before the names of their variables.
    """

def nats(
    version: str | int = "",
    image: str = "",
    port: int | None = None,
    env: Env = {},
    env_var: str = "",
    resources: dict[str, Any] = {},
    name: str = "",
) -> Dependency:
    """NATS. It sets `NATS_URL`.

    version: the tag of its image; `2.10.22` when empty.
    image: another image than `nats`.
    port: where it listens; 4222 when not given.
    env: variables of its container, as in `service`.
    env_var: what the variable with its address is called, when not `NATS_URL`.
    resources: CPU and memory, as in `service`.
    name: what tells two of one type apart; it comes before the names of their variables.
    """

def memcached(
    version: str | int = "",
    image: str = "",
    port: int | None = None,
    env: Env = {},
    env_var: str = "",
    resources: dict[str, Any] = {},
    name: str = "",
) -> Dependency:
    """memcached. It sets `MEMCACHED_URL`.

    version: the tag of its image; `1.6.32` when empty.
    image: another image than `memcached`.
    port: where it listens; 11211 when not given.
    env: variables of its container, as in `service`.
    env_var: what the variable with its address is called, when not `MEMCACHED_URL`.
    resources: CPU and memory, as in `service`.
    name: what tells two of one type apart; it comes before the names of their variables.
    """

def cassandra(
    version: str | int = "",
    image: str = "",
    port: int | None = None,
    env: Env = {},
    env_var: str = "",
    storage: str = "",
    resources: dict[str, Any] = {},
    name: str = "",
) -> Dependency:
    """Cassandra. It sets `CASSANDRA_URL`.

    version: the tag of its image; `4.1.7` when empty.
    image: another image than `cassandra`.
    port: where it listens; 9042 when not given.
    env: variables of its container, as in `service`.
    env_var: what the variable with its address is called, when not `CASSANDRA_URL`.
    storage: how large a volume keeps its data, such as `1Gi`; without it, data goes with the pod.
    resources: CPU and memory, as in `service`.
    name: what tells two of one type apart; it comes before the names of their variables.
    """

def consul(
    version: str | int = "",
    image: str = "",
    port: int | None = None,
    env: Env = {},
    env_var: str = "",
    resources: dict[str, Any] = {},
    name: str = "",
) -> Dependency:
    """Consul in development mode. It sets `CONSUL_HTTP_ADDR`.

    version: the tag of its image; `1.20.1` when empty.
    image: another image than `hashicorp/consul`.
    port: where it listens; 8500 when not given.
    env: variables of its container, as in `service`.
    env_var: what the variable with its address is called, when not `CONSUL_HTTP_ADDR`.
    resources: CPU and memory, as in `service`.
    name: what tells two of one type apart; it comes before the names of their variables.
    """

def vault(
    version: str | int = "",
    image: str = "",
    port: int | None = None,
    env: Env = {},
    env_var: str = "",
    resources: dict[str, Any] = {},
    name: str = "",
) -> Dependency:
    """Vault in development mode. It sets `VAULT_ADDR`, `VAULT_TOKEN`.

    version: the tag of its image; `1.18.1` when empty.
    image: another image than `hashicorp/vault`.
    port: where it listens; 8200 when not given.
    env: variables of its container, as in `service`.
    env_var: what the variable with its address is called, when not `VAULT_ADDR`.
    resources: CPU and memory, as in `service`.
    name: what tells two of one type apart; it comes before the names of their variables.
    """

def influxdb(
    version: str | int = "",
    image: str = "",
    port: int | None = None,
    env: Env = {},
    env_var: str = "",
    storage: str = "",
    resources: dict[str, Any] = {},
    name: str = "",
) -> Dependency:
    """InfluxDB 2. It sets `INFLUXDB_URL`, `INFLUXDB_ORG`, `INFLUXDB_BUCKET`, `INFLUXDB_TOKEN`.

    version: the tag of its image; `2.7.10` when empty.
    image: another image than `influxdb`.
    port: where it listens; 8086 when not given.
    env: variables of its container, as in `service`.
    env_var: what the variable with its address is called, when not `INFLUXDB_URL`.
    storage: how large a volume keeps its data, such as `1Gi`; without it, data goes with the pod.
    resources: CPU and memory, as in `service`.
    name: what tells two of one type apart; it comes before the names of their variables.
    """

def jaeger(
    version: str | int = "",
    image: str = "",
    port: int | None = None,
    env: Env = {},
    env_var: str = "",
    resources: dict[str, Any] = {},
    name: str = "",
) -> Dependency:
    """Jaeger, which takes OTLP. It sets `JAEGER_ENDPOINT`, `OTEL_EXPORTER_OTLP_ENDPOINT`.

    version: the tag of its image; `1.62.0` when empty.
    image: another image than `jaegertracing/all-in-one`.
    port: where it listens; 16686 when not given.
    env: variables of its container, as in `service`.
    env_var: what the variable with its address is called, when not `JAEGER_ENDPOINT`.
    resources: CPU and memory, as in `service`.
    name: what tells two of one type apart; it comes before the names of their variables.
    """

# == Local work ==

def local_resource(
    name: str,
    cmd: Command = "",
    deps: Texts = [],
    trigger_mode: TriggerMode | None = None,
    resource_deps: Texts = [],
    ignore: Texts = [],
    auto_init: bool = True,
    serve_cmd: Command = "",
    cmd_bat: str = "",
    serve_cmd_bat: str = "",
    allow_parallel: bool = False,
    links: str | Link | list[str | Link] = [],
    labels: Texts = [],
    env: dict[str, str] = {},
    serve_env: dict[str, str] = {},
    readiness_probe: Probe | None = None,
    dir: str = "",
    serve_dir: str = "",
    outputs: Texts = [],
) -> None:
    """Run a command on this machine when its files change, keep a server running, or both.

    name: the name of the resource.
    cmd: a command that ends.
    deps: files and folders that it reads. Paths, not patterns.
    trigger_mode: whether changes run it by themselves.
    resource_deps: resources that must be ready first.
    ignore: patterns of files in `deps` that are no input, relative to this file's folder.
    auto_init: False leaves it alone until it is triggered or a file changes.
    serve_cmd: a command that keeps running. It starts after `cmd`, and again when that ran again.
    cmd_bat: for Windows; ignored.
    serve_cmd_bat: for Windows; ignored.
    allow_parallel: `cmd` may run beside others. When False, nothing else runs meanwhile.
    links: addresses to show.
    labels: groups that the resource is shown in.
    env: more environment variables for `cmd`.
    serve_env: more environment variables for `serve_cmd`.
    readiness_probe: how to tell that `serve_cmd` is ready; at once when not given.
    dir: the folder that `cmd` runs in.
    serve_dir: the folder that `serve_cmd` runs in.
    outputs: files and folders that `cmd` writes. What reads them runs after it, and they can be
        restored from the cache without running it.
    """

def test(
    name: str,
    cmd: Command = "",
    deps: Texts = [],
    trigger_mode: TriggerMode | None = None,
    resource_deps: Texts = [],
    ignore: Texts = [],
    auto_init: bool = True,
    allow_parallel: bool = True,
    labels: Texts = [],
    env: dict[str, str] = {},
    dir: str = "",
    outputs: Texts = [],
    timeout: str | float | None = None,
) -> None:
    """Check something: again when its files change, or a resource that it tests.

    name: the name of the test.
    cmd: a command that fails or does not.
    deps: files and folders that it reads.
    trigger_mode: whether changes run it by themselves.
    resource_deps: the resources that it tests; they must be ready first.
    ignore: patterns of files in `deps` that are no input, relative to this file's folder.
    auto_init: False leaves it alone until it is triggered or something changes.
    allow_parallel: False when nothing else may run meanwhile.
    labels: groups that the test is shown in.
    env: more environment variables.
    dir: the folder that the command runs in.
    outputs: files and folders that it writes, such as reports.
    timeout: how long it may take: seconds, or a text such as `5m`. No limit when not given.
    """

def probe(
    initial_delay_secs: float = 0,
    timeout_secs: float = 1,
    period_secs: float = 10,
    success_threshold: int = 1,
    failure_threshold: int = 3,
    exec: ProbeAction | None = None,
    http_get: ProbeAction | None = None,
    tcp_socket: ProbeAction | None = None,
) -> Probe:
    """A readiness probe for `local_resource`. Exactly one action is given.

    initial_delay_secs: seconds before the first try.
    timeout_secs: seconds that one try may take.
    period_secs: seconds between tries.
    success_threshold: tries in a row that must succeed.
    failure_threshold: tries in a row that must fail before it counts as not ready.
    exec: an `exec_action`.
    http_get: an `http_get_action`.
    tcp_socket: a `tcp_socket_action`.
    """

def exec_action(command: list[str]) -> ProbeAction:
    """Ready when a command ends with 0.

    command: the argument vector.
    """

def http_get_action(
    port: int,
    host: str = "localhost",
    scheme: str = "http",
    path: str = "/",
    headers: dict[str, str] = {},
) -> ProbeAction:
    """Ready when a request is answered with a status from 200 to 399.

    port: the port.
    host: the host.
    scheme: `http` or `https`.
    path: the path.
    headers: headers of the request.
    """

def tcp_socket_action(port: int, host: str = "localhost") -> ProbeAction:
    """Ready when a connection is accepted.

    port: the port.
    host: the host.
    """

# == Commands during evaluation ==

def local(
    command: Command,
    quiet: bool = False,
    command_bat: str | None = None,
    echo_off: bool = False,
    env: dict[str, str] = {},
    dir: str = "",
    stdin: str | Blob | None = None,
    deps: Texts | None = None,
) -> Blob:
    """Run a command now and give what it prints. A failure ends the evaluation.

    It does not run while the current context is not an allowed one.

    command: the command.
    quiet: log nothing of it.
    command_bat: for Windows; ignored.
    echo_off: do not log the command itself.
    env: more environment variables.
    dir: the folder that it runs in.
    stdin: what it reads from standard input.
    deps: everything that the output depends on. With it, the output is remembered until one of
        these files changes; without, the command runs at every evaluation.
    """

def helm(
    pathToChartDir: str,
    name: str = "",
    namespace: str = "",
    values: Texts = [],
    set: Texts = [],
    kube_version: str = "",
    skip_crds: bool = False,
) -> Blob:
    """Render a chart by `helm template`, less its test hooks. Needs `helm`.

    pathToChartDir: the folder of the chart.
    name: the name of the release; `chart` when empty.
    namespace: the namespace that templates see.
    values: values files.
    set: single values, such as `image.tag=dev`.
    kube_version: the version of Kubernetes that templates see.
    skip_crds: True leaves out the chart's custom resource definitions.
    """

def kustomize(pathToDir: str, kustomize_bin: str | None = None, flags: Texts = []) -> Blob:
    """Render a kustomization. Needs `kustomize` or `kubectl`.

    pathToDir: the folder of the kustomization.
    kustomize_bin: the program to use.
    flags: more arguments for it.
    """

# == Files and text ==

def read_file(file_path: str, default: str | None = None) -> Blob:
    """The contents of a file, which is watched, also while it does not exist.

    file_path: the file.
    default: what to give when it does not exist; without it, that ends the evaluation.
    """

def watch_file(file_path: str) -> None:
    """Evaluate again when this changes.

    file_path: a file, or a folder with all it holds.
    """

def listdir(directory: str, recursive: bool = False) -> list[str]:
    """The absolute paths of the files in a folder, sorted.

    directory: the folder.
    recursive: also those in folders below; the folder is watched then.
    """

def read_json(path: str, default: Any = None) -> Any:
    """The value in a JSON file, which is watched.

    path: the file.
    default: what to give when it does not exist.
    """

def read_yaml(path: str, default: Any = None) -> Any:
    """The one document in a YAML file, which is watched.

    path: the file.
    default: what to give when it does not exist.
    """

def read_yaml_stream(path: str, default: Any = None) -> list[Any]:
    """The documents in a YAML file, which is watched.

    path: the file.
    default: what to give when it does not exist.
    """

def decode_json(json: str | Blob) -> Any:
    """The value of a JSON text.

    json: the text.
    """

def decode_yaml(yaml: str | Blob) -> Any:
    """The one document of a YAML text.

    yaml: the text.
    """

def decode_yaml_stream(yaml: str | Blob) -> list[Any]:
    """The documents of a YAML text.

    yaml: the text.
    """

def encode_json(obj: Any) -> Blob:
    """A value as JSON.

    obj: texts, numbers, booleans, None, lists and dicts.
    """

def encode_yaml(obj: Any) -> Blob:
    """A value as YAML.

    obj: texts, numbers, booleans, None, lists and dicts.
    """

def encode_yaml_stream(objs: list[Any]) -> Blob:
    """Values as one YAML text of several documents.

    objs: the values.
    """

def blob(contents: str | Blob) -> Blob:
    """A text as contents, for what would take a plain text for a path.

    contents: the text.
    """

def include(path: str) -> None:
    """Run another file for what it declares, once however often it is named.

    path: the file, or a folder with a Kindlingfile or Tiltfile.
    """

def load_dynamic(path: str) -> dict[str, Any]:
    """The names of another file as a dict. Like `load`, for a path that is computed.

    path: the file.
    """

def module(name: str, **attributes: Any) -> Any:
    """A value with attributes.

    name: what it is called.
    attributes: its attributes.
    """

# == Speaking and stopping ==

def print(*args: Any, sep: str = " ") -> None:
    """Log a line.

    args: values of any kind.
    sep: what stands between them.
    """

def warn(msg: str) -> None:
    """Show a warning.

    msg: the text.
    """

def fail(*args: Any, sep: str = " ") -> NoReturn:
    """End the evaluation with an error.

    args: values of any kind.
    sep: what stands between them.
    """

def exit(msg: str = "") -> NoReturn:
    """End the evaluation without an error. What was declared counts.

    msg: a line to log.
    """

# == Arguments ==

class config:
    """What was given after `--`, and which resources take part."""

    subcommand: str
    """`up`, `ci`, `down` and so on."""

    tilt_subcommand: str
    """The same under Tilt's name."""

    main_path: str
    """The absolute path of the main file."""

    main_dir: str
    """The absolute path of the main file's folder."""

    @staticmethod
    def define_string(name: str, args: bool = False, usage: str = "") -> None:
        """Define a setting that is a text: `--name value`.

        name: the name of the setting.
        args: True makes it the one that takes the word without a flag.
        usage: one line on what it means.
        """

    @staticmethod
    def define_string_list(name: str, args: bool = False, usage: str = "") -> None:
        """Define a setting that is a list of texts: `--name a --name b`.

        name: the name of the setting.
        args: True makes it the one that takes all words without flags.
        usage: one line on what it means.
        """

    @staticmethod
    def define_bool(name: str, args: bool = False, usage: str = "") -> None:
        """Define a setting that is true or false: `--name`, `--name=false`.

        name: the name of the setting.
        args: True makes it the one that takes the word without a flag.
        usage: one line on what it means.
        """

    @staticmethod
    def define_object(name: str, args: bool = False, usage: str = "") -> None:
        """Define a setting that is JSON.

        name: the name of the setting.
        args: True makes it the one that takes the word without a flag.
        usage: one line on what it means.
        """

    @staticmethod
    def parse() -> dict[str, Any]:
        """The settings that were given. Those that were not are absent.

        `kindling_config.json` or `tilt_config.json` beside this file is read first; what was given
        after `--` wins.
        """

    @staticmethod
    def set_enabled_resources(resources: Texts) -> None:
        """Let only these resources and what they depend on take part.

        resources: names of resources; none means all.
        """

    @staticmethod
    def clear_enabled_resources() -> None:
        """Let no resource take part."""

# == Environment ==

class os:
    """The environment of the evaluation."""

    name: str
    """Always `posix`."""

    environ: dict[str, str]
    """The environment variables. What is written here is seen by every command that follows."""

    @staticmethod
    def getcwd() -> str:
        """The absolute path of the folder of the file that is being executed."""

    @staticmethod
    def getenv(key: str, default: Any = None) -> Any:
        """An environment variable.

        key: its name.
        default: what to give when it is not set.
        """

    @staticmethod
    def putenv(key: str, value: str) -> None:
        """Set an environment variable for the commands that follow.

        key: its name.
        value: its value.
        """

    @staticmethod
    def unsetenv(key: str) -> None:
        """Remove an environment variable for the commands that follow.

        key: its name.
        """

    class path:
        """Paths."""

        @staticmethod
        def abspath(path: str) -> str:
            """The path as an absolute one.

            path: a path.
            """

        @staticmethod
        def basename(path: str) -> str:
            """The last part of a path.

            path: a path.
            """

        @staticmethod
        def dirname(path: str) -> str:
            """A path without its last part.

            path: a path.
            """

        @staticmethod
        def exists(path: str) -> bool:
            """Whether there is such a file or folder. It is not watched.

            path: a path.
            """

        @staticmethod
        def join(path: str, *paths: str) -> str:
            """Parts of a path, joined.

            path: the first part.
            paths: the others. An absolute one starts anew.
            """

        @staticmethod
        def realpath(path: str) -> str:
            """The absolute path with symbolic links followed.

            path: a path.
            """

        @staticmethod
        def relpath(targpath: str, basepath: str | None = None) -> str:
            """A path as seen from a folder.

            targpath: the path.
            basepath: the folder; that of this file when not given.
            """

class shlex:
    """Quoting for the shell."""

    @staticmethod
    def quote(s: str) -> str:
        """A text as one word of a shell command.

        s: the text.
        """

# == Accepted and ignored ==

def analytics_settings(enable: bool | None = None) -> None:
    """Tilt's; ignored."""

def disable_feature(feature_name: str = "") -> None:
    """Tilt's; ignored."""

def disable_snapshots() -> None:
    """Tilt's; ignored."""

def docker_prune_settings(
    disable: bool = False,
    max_age_mins: int = 360,
    num_builds: int = 0,
    interval_hrs: int = 1,
    keep_recent: int = 2,
) -> None:
    """Tilt's; ignored."""

def enable_feature(feature_name: str = "") -> None:
    """Tilt's; ignored."""

def experimental_metrics_settings(*args: Any, **kwargs: Any) -> None:
    """Tilt's; ignored."""

def experimental_telemetry_cmd(*args: Any, **kwargs: Any) -> None:
    """Tilt's; ignored."""

def k8s_resource_assembly_version(version: int = 2) -> None:
    """Tilt's; ignored."""

def set_team(team_id: str = "") -> None:
    """Tilt's; ignored."""
