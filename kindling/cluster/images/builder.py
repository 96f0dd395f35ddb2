"""Images from Dockerfiles: stages, steps, and the cache that makes an unchanged step free.

A step's layer is kept under a key of the layers below it, the instruction and the content that goes
in. Everything that is written carries the time of its source or none, so that the same inputs make
the same image. What is printed is what Docker's classic builder prints, which tools read.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from kindling.cluster.images.blobs import digest_of, remove_tree
from kindling.cluster.images.build_run import Command, read_table, run_command
from kindling.cluster.images.catalogue import CacheEntry
from kindling.cluster.images.copying import CopyError, Copying, content_digest, parents
from kindling.cluster.images.dockerfile import (
    Dockerfile,
    DockerfileError,
    Instruction,
    Stage,
    parse_dockerfile,
    words,
)
from kindling.cluster.images.expansion import ExpansionError, expand, expand_document
from kindling.cluster.images.host_image import host_config, host_image
from kindling.cluster.images.layer_tar import END, Entry, entry_bytes
from kindling.cluster.images.manifest import (
    LAYER,
    Descriptor,
    choose,
    parse_manifest,
    write_manifest,
)
from kindling.cluster.images.protocol import Credentials, Image, PullError
from kindling.cluster.images.reference import Reference, parse_reference
from kindling.cluster.images.rootview import ContextTree, FileTree, RootView
from kindling.cluster.images.run_mounts import parse_mounts
from kindling.cluster.images.stage import PROXIES, BuildStage, platform_args
from kindling.cluster.images.store import ImageStore
from kindling.cluster.images.tape import ArchiveError, Source, decompressed
from kindling.cluster.images.threads import in_thread
from kindling.cluster.images.unpack import unpack
from kindling.cluster.runtime.protocol import Mount, RootFs, Runtime

__all__ = ["BuildOptions", "build_image"]

_DIR = stat.S_IFDIR | 0o755
_MOST_URL = 1 << 30


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """One build. `context` is a folder whose `.dockerignore` holds; `dockerfile` is the text.
    `args` and `labels` are as given on the command line, `secrets` files by their id."""

    dockerfile: str
    context: Path
    tags: tuple[Reference, ...] = ()
    args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Path] = field(default_factory=dict)
    target: str = ""
    network: str = ""
    platform: str = ""
    no_cache: bool = False
    pull: bool = False
    credentials: tuple[Credentials, ...] = ()


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
        self._runtime = runtime
        self._options = options
        self._file = dockerfile
        self._log = log
        self._tree = ContextTree(options.context, _ignored(options.context))
        self._done: dict[int, BuildStage] = {}
        self._images: dict[str, Image] = {}
        self._step = 0
        self._steps = 0
        self._globals = self._global_args()

    async def run(self, held: ExitStack) -> Image:
        last = self._target()
        needed = self._needed(last)
        self._steps = sum(1 + len(self._file.stages[at].steps) for at in needed)
        if last == len(self._file.stages) - 1 and not self._options.target:
            self._steps += bool(self._options.labels)
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
                await self._apply(made, step)
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

    # Steps ---------------------------------------------------------------------------------------

    async def _apply(self, stage: BuildStage, step: Instruction) -> None:
        match step.word:
            case "ARG":
                stage.declare(step, self._options.args, self._globals)
            case "RUN":
                await self._run(stage, step)
            case "COPY" | "ADD":
                await self._copy(stage, step)
            case "WORKDIR":
                await self._workdir(stage, step)
            case "ONBUILD":
                self._log(" ---> [Warning] ONBUILD is ignored\n")
            case _:
                stage.apply(step)

    def _view(self, stage: BuildStage) -> RootView:
        paths = [self._store.layers.path(diff_id) for diff_id, _ in stage.layers]
        return RootView(paths, host=stage.host)

    async def _workdir(self, stage: BuildStage, step: Instruction) -> None:
        path = posixpath.normpath(posixpath.join(stage.cwd, stage.expand(step.rest, step)))
        stage.config["WorkingDir"] = path
        view = self._view(stage)
        name = view.resolve(path)
        if name and view.stat(name) is None:
            made = {name: Entry(name, _DIR)}
            await self._layer(stage, "workdir " + name, [*parents(made, view), *made.values()])

    async def _copy(self, stage: BuildStage, step: Instruction) -> None:
        parts = step.exec or tuple(words(step.rest, stage.escape))
        if len(parts) < 2 and not (step.heredocs and parts):
            raise step.error(
                f"{step.word} requires at least two arguments, but only one was"
                " provided. Destination could not be determined."
            )
        *sources, dest = (stage.expand(part, step) for part in parts)
        absolute = posixpath.join(stage.cwd, dest)
        if dest in (".", "") or dest.endswith(("/", "/.")):
            absolute = posixpath.normpath(absolute) + "/"
        view = self._view(stage)
        owner: tuple[int, int] | None = self._owner(stage, step, view)
        mode = self._mode(step)
        tree: FileTree = self._tree
        if origin := step.flag("from"):
            tree = await self._other(step, stage.expand(origin, step))
            if not step.flag("chown"):
                owner = None
        documents = {item.name: item for item in step.heredocs}
        files = [it for it in sources if not (it.startswith("<<") and _bare(it) in documents)]
        groups: list[Copying] = []
        if len(files) < len(sources):
            scratch = self._scratch()
            for item in step.heredocs:
                known = {**stage.args, **stage.env}
                text = expand_document(item.text, known) if item.expand else item.text
                (scratch / item.name).write_text(text, "utf-8")
                os.utime(scratch / item.name, (0, 0))
            names = tuple(documents)
            groups.append(Copying(ContextTree(scratch), names, absolute, owner, mode))
        plain: list[str] = []
        for name in files:
            if step.word == "ADD" and name.startswith(("http://", "https://")):
                fetched = await self._fetch(step, name)
                tree_ = ContextTree(fetched.parent)
                groups.append(Copying(tree_, (fetched.name,), absolute, owner, mode or 0o600))
            elif step.word == "ADD" and (folder := await self._archive(name)) is not None:
                groups.append(Copying(ContextTree(folder), (".",), absolute, None, mode))
            else:
                plain.append(name)
        if plain:
            groups.append(Copying(tree, tuple(plain), absolute, owner, mode))
        entries: dict[str, Entry] = {}
        for group in groups:
            found = await in_thread(lambda _, group=group: group.entries(view))  # type: ignore[misc]
            entries.update((entry.name, entry) for entry in found)
        ordered = [entries[name] for name in sorted(entries)]
        content = await in_thread(lambda stop: content_digest(ordered, stop))
        await self._layer(stage, f"copy {content}", ordered)

    def _owner(self, stage: BuildStage, step: Instruction, view: RootView) -> tuple[int, int]:
        text = stage.expand(step.flag("chown"), step)
        if not text:
            return (0, 0)
        user, colon, group = text.partition(":")
        uid = gid = 0
        if user.isdigit():
            uid = gid = int(user)
        else:
            rows = [row for row in read_table(view, "etc/passwd") if row[0] == user]
            if not rows:
                raise step.error(
                    f"unable to convert uid/gid chown string to host mapping: can't"
                    f" find uid for user {user}: no such user: {user}"
                )
            uid, gid = int(rows[0][2]), int(rows[0][3])
        if colon:
            if group.isdigit():
                return uid, int(group)
            rows = [row for row in read_table(view, "etc/group") if row[0] == group]
            if not rows:
                raise step.error(
                    f"unable to convert uid/gid chown string to host mapping: can't"
                    f" find gid for group {group}: no such group: {group}"
                )
            gid = int(rows[0][2])
        return uid, gid

    def _mode(self, step: Instruction) -> int | None:
        text = step.flag("chmod")
        if not text:
            return None
        try:
            return int(text, 8) & 0o7777
        except ValueError:
            raise step.error(
                f"invalid chmod parameter: '{text}'. it should be octal string and"
                " between 0 and 07777"
            ) from None

    async def _other(self, step: Instruction, name: str) -> RootView:
        """The files of an earlier stage, or of an image."""
        here = next(at for at, it in enumerate(self._file.stages) if step in it.steps)
        at = self._find_stage(name, here)
        if at is not None:
            return self._view(self._done[at])
        image = await self._image(name)
        return RootView(image.root.layers, host=image.root.host)

    async def _archive(self, name: str) -> Path | None:
        """An archive of the context unpacked; None for what is none."""
        clean = posixpath.normpath("/" + name).lstrip("/")
        info = self._tree.stat(clean)
        if info is None or not stat.S_ISREG(info.st_mode):
            return None
        folder = self._scratch()
        real = self._tree.real(clean)
        return folder if await in_thread(lambda stop: _unpack_any(real, folder, stop)) else None

    async def _fetch(self, step: Instruction, url: str) -> Path:
        import aiohttp

        name = posixpath.basename(url.partition("?")[0].rstrip("/"))
        if not name or not url.partition("://")[2].strip("/").count("/"):
            raise step.error(f"cannot determine filename for source {url}")
        path = self._scratch() / name
        try:
            async with (
                aiohttp.ClientSession(trust_env=True) as session,
                session.get(url) as answer,
            ):
                if answer.status >= 400:
                    raise step.error(f"ADD failed: {url}: {answer.status} {answer.reason}")
                with path.open("wb") as file:
                    async for chunk in answer.content.iter_chunked(1 << 18):
                        file.write(chunk)
                        if file.tell() > _MOST_URL:
                            raise step.error(f"ADD failed: {url} has more than 1 GiB")
        except aiohttp.ClientError as error:
            raise step.error(f"ADD failed: {url}: {error}") from error
        os.utime(path, (0, 0))
        return path

    async def _run(self, stage: BuildStage, step: Instruction) -> None:
        known = {**stage.args, **stage.env}
        argv = step.exec
        if argv is None:
            text = step.rest
            for item in step.heredocs:
                body = expand_document(item.text, known) if item.expand else item.text
                if _bare(text) == item.name and text.startswith("<<"):
                    text = body  # `RUN <<EOF`: the document is the script
                else:
                    text = f"{text}\n{body}{item.name}\n"
            argv = (*stage.shell, text)
        given = self._options.args
        proxies = {name: given[name] for name in PROXIES if name in given}
        env = {**stage.args, **stage.env}
        mounts, mounted = await self._mounts(stage, step)
        key = json.dumps(
            [argv, sorted(env.items()), stage.user, stage.cwd, mounted, self._options.network]
        )
        network = step.flag("network") or self._options.network
        shown = (
            " ".join((*(argv[:-1] if step.exec is None else ()), step.rest))
            if step.exec is None
            else " ".join(argv)
        )

        async def make() -> CacheEntry:
            if self._runtime is None:
                raise step.error("RUN needs a runtime for containers, and there is none here")
            self._log(f" ---> Running in {_short(digest_of(key.encode()))}\n")
            root = RootFs(
                tuple(self._store.layers.path(diff_id) for diff_id, _ in stage.layers), stage.host
            )
            command = Command(
                argv=argv,
                env={**proxies, **env},
                root=root,
                cwd=stage.cwd,
                user=stage.user,
                network=network,
                mounts=mounts,
                shown=shown,
            )
            diff_id, blob, size = await run_command(self._store, self._runtime, command, self._log)
            return CacheEntry("", diff_id, blob, size)

        await self._cached(stage, f"run {key}", make)

    async def _mounts(
        self, stage: BuildStage, step: Instruction
    ) -> tuple[tuple[Mount, ...], list[str]]:
        """What RUN --mount asks for, and what of it counts in the cache."""
        found: list[Mount] = []
        counted: list[str] = []
        for item in parse_mounts(step, lambda text: stage.expand(text, step)):
            target = posixpath.join(stage.cwd, item.target)
            counted.append(f"{item.kind} {target} {item.source} {item.origin}")
            if item.kind == "tmpfs":
                found.append(Mount(target, None))
            elif item.kind == "cache":
                found.append(Mount(target, self._store.cache_folder(item.id or target)))
            elif item.kind == "secret":
                secret = self._options.secrets.get(item.id)
                if secret is None and item.required:
                    raise step.error(f"secret {item.id}: not found")
                if secret is not None:
                    found.append(Mount(target, secret, read_only=True))
            else:
                tree: FileTree = self._tree
                if item.origin:
                    tree = await self._other(step, item.origin)
                folder = self._scratch()
                copying = Copying(tree, (item.source or ".",), "/it/", None)
                entries = await in_thread(lambda _, it=copying: it.entries(RootView(())))  # type: ignore[misc]
                counted.append(await in_thread(lambda stop, it=entries: content_digest(it, stop)))  # type: ignore[misc]
                await in_thread(lambda stop, it=entries, to=folder: _write_out(it, to, stop))  # type: ignore[misc]
                info = tree.stat(posixpath.normpath("/" + item.source).lstrip("/"))
                source = folder / "it"
                if info is not None and not stat.S_ISDIR(info.st_mode):
                    source /= posixpath.basename(item.source)
                found.append(Mount(target, source, read_only=True))
        return tuple(found), counted

    # Layers --------------------------------------------------------------------------------------

    async def _layer(self, stage: BuildStage, key: str, entries: Sequence[Entry]) -> None:
        """Add a layer of these entries, made or out of the cache."""

        async def make() -> CacheEntry:
            def write(stop: Event) -> CacheEntry:
                writer = self._store.blobs.writer()
                try:
                    for entry in entries:
                        for piece in entry_bytes(entry, stop):
                            writer.write(piece)
                    writer.write(END)
                    digest = writer.commit()
                finally:
                    writer.abort()
                self._store.layers.unpack_blob(digest, digest, stop)
                return CacheEntry("", digest, digest, writer.size)

            return await in_thread(write)

        await self._cached(stage, key, make)

    async def _cached(
        self, stage: BuildStage, key: str, make: Callable[[], Awaitable[CacheEntry]]
    ) -> None:
        below = [diff_id for diff_id, _ in stage.layers]
        name = hashlib.sha256(json.dumps([below, stage.host, key]).encode()).hexdigest()
        entry = None if self._options.no_cache else self._store.catalogue.cached(name)
        if entry is not None and (
            self._store.layers.has(entry.diff_id) and self._store.blobs.has(entry.blob)
        ):
            self._log(" ---> Using cache\n")
        else:
            made = await make()
            entry = CacheEntry(name, made.diff_id, made.blob, made.size)
            self._store.catalogue.remember(entry)
        stage.layers.append((entry.diff_id, Descriptor(entry.blob, entry.size, LAYER)))

    def _scratch(self) -> Path:
        """A new folder of this build."""
        self.scratch.mkdir(exist_ok=True)
        folder = self.scratch / str(len(os.listdir(self.scratch)))
        folder.mkdir()
        return folder


def _ignored(context: Path) -> object:
    from kindling.errors import ConfigError
    from kindling.files.ignore import Ignore, parse_patterns
    from kindling.graph.node import IgnoreRule

    path = context / ".dockerignore"
    if not path.is_file():
        return None
    try:
        patterns = parse_patterns(path.read_text("utf-8", "replace"))
        return Ignore(context, (IgnoreRule(".", patterns),))
    except ConfigError as error:
        raise DockerfileError(f"error reading .dockerignore: {error.message}") from error


def _unpack_any(path: str, folder: Path, stop: Event) -> bool:
    """Unpack a file if it is a tar archive, compressed in any of the ways ADD knows."""
    import bz2
    import lzma
    import tarfile

    try:
        if not tarfile.is_tarfile(path):
            with open(path, "rb") as probe:
                if probe.read(4) != b"\x28\xb5\x2f\xfd":
                    return False
    except (OSError, EOFError):
        return False
    with open(path, "rb") as file, ExitStack() as opened:
        head = file.read(6)
        file.seek(0)
        source: Source = file
        if head.startswith(b"BZh"):
            source = opened.enter_context(bz2.open(file))
        elif head.startswith(b"\xfd7zXZ"):
            source = opened.enter_context(lzma.open(file))
        else:
            source = decompressed(file)
        unpack(source, folder, stop=stop, whiteouts=False)
    return True


def _write_out(entries: Sequence[Entry], folder: Path, stop: Event) -> None:
    """Copy entries to a folder, by way of the tar that they are."""
    import io

    data = io.BytesIO()
    for entry in entries:
        for piece in entry_bytes(entry, stop):
            data.write(piece)
    data.write(END)
    data.seek(0)
    try:
        unpack(data, folder, stop=stop, whiteouts=False)
    except ArchiveError as error:
        raise CopyError(str(error)) from error


def _bare(text: str) -> str:
    return text.removeprefix("<<").removeprefix("-").strip("\"'")


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
