"""Images from Dockerfiles: stages, steps, and the cache that makes an unchanged step free.

A step's layer is kept under a key of the layers below it, the instruction and the content that goes
in. Everything that is written carries the time of its source or none, so that the same inputs make
the same image. What is printed is what Docker's classic builder prints, which tools read.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from kindling.cluster.images.blobs import digest_of, remove_tree
from kindling.cluster.images.build_steps import BuildOptions, Steps
from kindling.cluster.images.copying import CopyError
from kindling.cluster.images.dockerfile import (
    Dockerfile,
    DockerfileError,
    Instruction,
    Stage,
    parse_dockerfile,
    words,
)
from kindling.cluster.images.expansion import ExpansionError, expand
from kindling.cluster.images.host_image import host_config, host_image
from kindling.cluster.images.manifest import (
    Descriptor,
    choose,
    parse_manifest,
    write_manifest,
)
from kindling.cluster.images.protocol import Image, PullError
from kindling.cluster.images.reference import parse_reference
from kindling.cluster.images.rootview import RootView
from kindling.cluster.images.stage import BuildStage, platform_args
from kindling.cluster.images.store import ImageStore
from kindling.cluster.runtime.protocol import Runtime

__all__ = ["build_image"]

_DIR = stat.S_IFDIR | 0o755
_MOST_URL = 1 << 30


async def build_image(
    store: ImageStore,
    runtime: Runtime | None,
    options: BuildOptions,
    log: Callable[[str], None] = lambda _: None,
) -> Image:
    """Build, telling `log` what happens in pieces of text. Without a runtime, RUN is refused.

    Raises:
        DockerfileError: A step cannot be done; `BuildFailedError` where its command failed.
    """
    parsed = parse_dockerfile(options.dockerfile)
    build = _Build(store, runtime, options, parsed, log)
    try:
        with ExitStack() as held:
            return await build.run(held)
    finally:
        if build.scratch.exists():
            remove_tree(build.scratch)


class _Build:
    def __init__(
        self,
        store: ImageStore,
        runtime: Runtime | None,
        options: BuildOptions,
        dockerfile: Dockerfile,
        log: Callable[[str], None],
    ) -> None:
        self.scratch = store.blobs.new_path()
        self._store = store
        self._options = options
        self._file = dockerfile
        self._log = log
        self._done: dict[int, BuildStage] = {}
        self._images: dict[str, Image] = {}
        self._step = 0
        self._steps = 0
        self._globals = self._global_args()
        self._work = Steps(store, runtime, options, log, self.scratch, self._other, self._globals)

    async def run(self, held: ExitStack) -> Image:
        last = self._target()
        needed = self._needed(last)
        self._steps = sum(1 + len(self._file.stages[at].steps) for at in needed)
        stage = None
        for at in sorted(needed):
            stage = self._done[at] = await self._stage(self._file.stages[at], held)
        assert stage is not None, "the target is among what it needs"
        if self._options.labels:
            labels = stage.config.get("Labels") or {}
            stage.config["Labels"] = {**labels, **self._options.labels}
        config = stage.image()
        manifest = write_manifest(config, [blob for _, blob in stage.layers])
        digest = digest_of(manifest)
        with self._store.pin([digest, digest_of(config)]):
            self._store.blobs.put(config)
            self._store.blobs.put(manifest)
            image = await self._store.adopt(
                digest,
                names=tuple((self._store.place(tag), tag.tag) for tag in self._options.tags),
            )
        assert image is not None, "an image that was built is an image"
        self._log(f"Successfully built {_short(image.id)}\n")
        for tag in self._options.tags:
            self._log(f"Successfully tagged {tag.familiar}:{tag.tag}\n")
        return image

    # Stages --------------------------------------------------------------------------------------

    def _global_args(self) -> dict[str, str]:
        values = platform_args()
        given = self._options.args
        for instruction in self._file.args:
            for word in words(instruction.rest, self._file.escape):
                name, equals, default = word.partition("=")
                if name in given:
                    values[name] = given[name]
                elif equals:
                    values[name] = self._expand(default, instruction, values)
        return values

    def _expand(self, text: str, at: Instruction, values: Mapping[str, str]) -> str:
        try:
            return expand(text, values, self._file.escape)
        except ExpansionError as error:
            raise at.error(f"failed to process {text!r}: {error}") from error

    def _target(self) -> int:
        wanted = self._options.target
        if not wanted:
            return len(self._file.stages) - 1
        at = self._find_stage(wanted, len(self._file.stages))
        if at is None:
            known = ", ".join(f"`{stage.name}`" for stage in self._file.stages if stage.name)
            raise DockerfileError(
                f"failed to reach build target {wanted} in Dockerfile"
                + (f"; its stages are {known}" if known else "; its stages have no names")
            )
        return at

    def _find_stage(self, name: str, before: int) -> int | None:
        for at in range(before - 1, -1, -1):
            if self._file.stages[at].name == name.lower():
                return at
        if name.isdigit() and int(name) < before:
            return int(name)
        return None

    def _needed(self, last: int) -> set[int]:
        """The stages that a stage is made of, itself included."""
        needed: set[int] = set()
        waiting = [last]
        while waiting:
            at = waiting.pop()
            if at in needed:
                continue
            needed.add(at)
            stage = self._file.stages[at]
            base = self._expand(stage.base, stage.origin, self._globals)
            names = [(base, False)]
            for step in stage.steps:
                if step.word == "COPY" and step.flag("from"):
                    names.append((step.flag("from"), True))
                for flag, value in step.flags:
                    if flag == "mount":
                        names += [
                            (part[5:], True)
                            for part in value.split(",")
                            if part.startswith("from=")
                        ]
            for name, numbered in names:
                found = self._find_stage(name, at)
                if found is not None and (numbered or not name.isdigit()):
                    waiting.append(found)
        return needed

    async def _stage(self, stage: Stage, held: ExitStack) -> BuildStage:
        made = await self._begin(stage, held)
        for step in stage.steps:
            self._say(step)
            before = len(made.layers)
            try:
                await self._work.apply(made, step)
            except CopyError as error:
                raise DockerfileError(
                    f"{step.word} failed: {error} (Dockerfile line {step.line})"
                ) from error
            except OSError as error:
                raise DockerfileError(
                    f"{step.word} failed: {(error.strerror or str(error)).lower()}"
                    f" (Dockerfile line {step.line})"
                ) from error
            if step.word != "ARG":
                made.note(step, empty=len(made.layers) == before)
            self._log(f" ---> {_short(digest_of(made.image()))}\n")
        return made

    def _say(self, instruction: Instruction) -> None:
        self._step += 1
        self._log(f"Step {self._step}/{self._steps} : {instruction.text}\n")

    async def _begin(self, stage: Stage, held: ExitStack) -> BuildStage:
        origin = stage.origin
        self._say(origin)
        base = self._expand(stage.base, origin, self._globals)
        if not base:
            raise origin.error(f"base name ({stage.base}) should not be blank")
        here = self._file.stages.index(stage)
        platform = self._expand(origin.flag("platform"), origin, self._globals)
        for wanted in (platform, self._options.platform):
            if wanted and not platform_args()["TARGETPLATFORM"].startswith(wanted.rstrip("/")):
                raise origin.error(
                    f"this cluster builds for {platform_args()['TARGETPLATFORM']} alone, not for"
                    f" {wanted}"
                )
        at = self._find_stage(base, here)
        if at is not None and not base.isdigit():
            earlier = self._done[at]
            made = BuildStage(json.loads(earlier.image()), tuple(earlier.layers), self._file.escape)
            self._log(f" ---> {_short(digest_of(made.image()))}\n")
        elif base == "scratch":
            made = BuildStage({}, (), self._file.escape)
            self._log(" ---> \n")
            return made
        else:
            image = await self._image(base)
            held.enter_context(self._store.lease(image.id))
            if image.id == host_image().id:
                made = BuildStage(host_config(), (), self._file.escape)
            else:
                layers = self._layers_of(image)
                config = self._store.config(image.id)
                made = BuildStage(config, layers, self._file.escape)
            self._log(f" ---> {_short(image.id)}\n")
        for trigger in made.triggers:
            self._log(f" ---> [Warning] ONBUILD of the base image is ignored: {trigger}\n")
        return made

    async def _image(self, name: str) -> Image:
        """An image by reference: the one that is here, or else pulled."""
        if name in self._images:
            return self._images[name]
        try:
            image = None if self._options.pull else self._store.find(name)
            if image is None:
                self._log(f"Pulling {name}\n")
                try:
                    image = await self._store.pull(name, self._options.credentials)
                except PullError:
                    # `pull` asks for the newest; one that was only ever built here is the newest.
                    image = self._store.find(name) if self._options.pull else None
                    if image is None:
                        raise
        except PullError as error:
            raise DockerfileError(_no_image(name, error, self._store)) from error
        self._images[name] = image
        return image

    def _layers_of(self, image: Image) -> tuple[tuple[str, Descriptor], ...]:
        digest = self._store.manifest_of(image.id)
        manifest = parse_manifest(self._store.blobs.read(digest))
        if manifest.is_index:
            manifest = parse_manifest(self._store.blobs.read(choose(manifest).digest))
        ids = ["sha256:" + path.parent.name for path in image.root.layers]
        return tuple(zip(ids, manifest.layers, strict=True))

    async def _other(self, step: Instruction, name: str) -> RootView:
        """The files of an earlier stage, or of an image."""
        here = next(at for at, it in enumerate(self._file.stages) if step in it.steps)
        at = self._find_stage(name, here)
        if at is not None:
            return self._work.view(self._done[at])
        image = await self._image(name)
        return RootView(image.root.layers, host=image.root.host)


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]


def _no_image(name: str, error: PullError, store: ImageStore) -> str:
    """Why there is no base image, in Docker's words where it has some."""
    from kindling.errors import nearest

    said = str(error)
    try:
        reference = parse_reference(name)
    except PullError:
        return f"failed to parse reference {name!r}: invalid reference format"
    familiar = reference.familiar
    if "pull access denied" in said:
        said = (
            f"pull access denied for {familiar}, repository does not exist or may require 'docker"
            " login': denied: requested access to the resource is denied"
        )
    elif said.endswith(": not found"):
        said = f"manifest for {familiar}:{reference.tag} not found: manifest unknown"
    known = [name.removeprefix("docker.io/library/") for it in store.all() for name in it.names]
    hint = nearest(f"{familiar}:{reference.tag}", known)
    return f"{said}. {hint}" if hint else said
