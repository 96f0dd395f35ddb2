"""The steps of a stage that change files (COPY, ADD, RUN, WORKDIR), and their layers' cache."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from kindling.cluster.images.blobs import digest_of
from kindling.cluster.images.build_run import Command, read_table, run_command
from kindling.cluster.images.build_sources import fetch, ignored, unpack_any, write_out
from kindling.cluster.images.catalogue import CacheEntry
from kindling.cluster.images.copying import Copying, content_digest, parents
from kindling.cluster.images.dockerfile import Instruction, words
from kindling.cluster.images.expansion import expand_document
from kindling.cluster.images.layer_tar import END, Entry, entry_bytes
from kindling.cluster.images.manifest import LAYER, Descriptor
from kindling.cluster.images.protocol import Credentials
from kindling.cluster.images.reference import Reference
from kindling.cluster.images.rootview import ContextTree, FileTree, RootView
from kindling.cluster.images.run_mounts import parse_mounts
from kindling.cluster.images.stage import PROXIES, BuildStage
from kindling.cluster.images.store import ImageStore
from kindling.cluster.images.threads import in_thread
from kindling.cluster.runtime.protocol import Mount, RootFs, Runtime

__all__ = ["BuildOptions", "Steps"]

_DIR = stat.S_IFDIR | 0o755


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


class Steps:
    """Carries out the steps of one build. `scratch` is a folder of its own, not made yet; `origin`
    gives the files of an earlier stage or of an image; `known` are the ARGs before the first
    FROM."""

    def __init__(
        self,
        store: ImageStore,
        runtime: Runtime | None,
        options: BuildOptions,
        log: Callable[[str], None],
        scratch: Path,
        origin: Callable[[Instruction, str], Awaitable[RootView]],
        known: Mapping[str, str],
    ) -> None:
        self._store = store
        self._runtime = runtime
        self._options = options
        self._log = log
        self._scratch_folder = scratch
        self._origin = origin
        self._globals = known
        self._tree = ContextTree(options.context, ignored(options.context))

    # Steps ---------------------------------------------------------------------------------------

    async def apply(self, stage: BuildStage, step: Instruction) -> None:
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

    def view(self, stage: BuildStage) -> RootView:
        paths = [self._store.layers.path(diff_id) for diff_id, _ in stage.layers]
        return RootView(paths, host=stage.host)

    async def _workdir(self, stage: BuildStage, step: Instruction) -> None:
        path = posixpath.normpath(posixpath.join(stage.cwd, stage.expand(step.rest, step)))
        stage.config["WorkingDir"] = path
        view = self.view(stage)
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
        view = self.view(stage)
        owner: tuple[int, int] | None = self._owner(stage, step, view)
        mode = self._mode(step)
        tree: FileTree = self._tree
        if origin := step.flag("from"):
            tree = await self._origin(step, stage.expand(origin, step))
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
                fetched = await fetch(step, name, self._scratch())
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

    async def _archive(self, name: str) -> Path | None:
        """An archive of the context unpacked; None for what is none."""
        clean = posixpath.normpath("/" + name).lstrip("/")
        info = self._tree.stat(clean)
        if info is None or not stat.S_ISREG(info.st_mode):
            return None
        folder = self._scratch()
        real = self._tree.real(clean)
        return folder if await in_thread(lambda stop: unpack_any(real, folder, stop)) else None

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
            self._log(f" ---> Running in {digest_of(key.encode())[7:19]}\n")
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
                    tree = await self._origin(step, item.origin)
                folder = self._scratch()
                copying = Copying(tree, (item.source or ".",), "/it/", None)
                entries = await in_thread(lambda _, it=copying: it.entries(RootView(())))  # type: ignore[misc]
                counted.append(await in_thread(lambda stop, it=entries: content_digest(it, stop)))  # type: ignore[misc]
                await in_thread(lambda stop, it=entries, to=folder: write_out(it, to, stop))  # type: ignore[misc]
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
        self._scratch_folder.mkdir(exist_ok=True)
        folder = self._scratch_folder / str(len(os.listdir(self._scratch_folder)))
        folder.mkdir()
        return folder


def _bare(text: str) -> str:
    return text.removeprefix("<<").removeprefix("-").strip("\"'")
