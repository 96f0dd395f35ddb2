"""Trees and programs that are brought into a container whole: 10,000 small files, 200 MB, and a Go
program that was built anew."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from bench.peers import ROOT
from bench.sync_children import Children
from bench.sync_peers import COPIES, LOOPS, Running
from bench.sync_pod import NAMESPACE, Pod
from bench.sync_table import Found
from tests.sync.world.faults.relay import Relay, kubeconfig_through

__all__ = ["first", "many_files", "program", "programs", "two_hundred_megabytes"]

_COUNT = "find . -type f | wc -l; find . -type f -printf '%s\\n' | awk '{s+=$1} END {print s}'"
_MANY = 1000
"""So many files are not removed before the end: for minutes after that, ext4 without a journal
looks for a number that was not in use lately, one by one, for each file that is made."""

_ARRIVAL = """
import hashlib, os, sys, time
place, wanted = sys.argv[1:]
print("ready", flush=True)
seen = None
until = time.time() + 60
while time.time() < until:
    try:
        now = os.stat(place)
        mark = (now.st_ino, now.st_mtime_ns, now.st_size)
        at = time.time()
        if mark != seen:
            seen = mark
            if hashlib.sha256(open(place, "rb").read()).hexdigest() == wanted:
                print(repr(at))
                sys.exit()
    except OSError:
        pass
    time.sleep(0.002)
sys.exit(1)
"""
_GO = ROOT / "tests" / "sync" / "world" / "bin"
_USED = """
archive/zip crypto/tls database/sql debug/elf debug/macho debug/pe fmt go/build go/doc go/parser
go/printer go/types html/template image/gif image/png net/http net/http/httputil net/rpc net/smtp os
reflect
"""
_TYPES = """
&http.Server{}, &types.Checker{}, &types.Config{}, &build.Context{}, &doc.Package{}, &sql.DB{},
&elf.File{}, &macho.File{}, &pe.File{}, &template.Template{}, &gif.GIF{}, &png.Encoder{},
&printer.Config{}, &rpc.Server{}, &smtp.Client{}, &tls.Conn{}, &zip.Writer{},
&httputil.ReverseProxy{}, parser.ParseDir, doc.New, types.NewChecker, build.Import,
template.ParseGlob, http.ListenAndServeTLS, gif.EncodeAll, png.Decode, zip.OpenReader, sql.Open
""".replace("\n", " ").strip()
_IMPORTS = """
archive/tar archive/zip bufio bytes compress/bzip2 compress/gzip compress/lzw context crypto/aes
crypto/ecdsa crypto/ed25519 crypto/rsa crypto/tls crypto/x509 database/sql debug/dwarf debug/elf
debug/macho debug/pe encoding/asn1 encoding/csv encoding/gob encoding/json encoding/pem encoding/xml
expvar go/ast go/build go/doc go/format go/parser go/printer go/types html/template image/draw
image/gif image/jpeg image/png index/suffixarray log/syslog math/big mime/multipart net/http/cgi
net/http/cookiejar net/http/fcgi net/http/httputil net/http/pprof net/mail net/rpc/jsonrpc net/smtp
net/textproto os/signal plugin regexp runtime/pprof runtime/trace testing/quick text/template
time/tzdata
"""


def many_files(folder: Path) -> Path:
    """10,000 files of some 1 KB in 100 folders."""
    tree = folder / "10000-files"
    if not (tree / "d99" / "f99.txt").exists():
        shutil.rmtree(tree, ignore_errors=True)
        chance = random.Random(1)
        for number in range(100):
            (tree / f"d{number}").mkdir(parents=True)
            for inner in range(100):
                text = f"{number} {inner} {chance.random()}\n" * 30
                (tree / f"d{number}" / f"f{inner}.txt").write_text(text)
    return tree


def two_hundred_megabytes(folder: Path) -> Path:
    """400 files of half a megabyte that cannot be compressed, and some text beside them."""
    tree = folder / "200-MB"
    if not (tree / "d19" / "f19.bin").exists():
        shutil.rmtree(tree, ignore_errors=True)
        chance = random.Random(2)
        for number in range(20):
            (tree / f"d{number}").mkdir(parents=True)
            for inner in range(20):
                (tree / f"d{number}" / f"f{inner}.bin").write_bytes(chance.randbytes(500_000))
    return tree


def first(
    children: Children,
    pod: Pod,
    tree: Path,
    rows: list[Found],
    *,
    rounds: int,
    only: str,
    left: Callable[[float], float],
) -> None:
    """Whole commands that bring a tree over, in turns, so that a busy moment meets them all."""
    wanted = children.run(["sh", "-c", _COUNT], 60, cwd=tree).split()
    copies = [one for one in COPIES if only in one.name]
    found = [Found(one.name, wanted=rounds, ours=one.ours) for one in copies]
    rows += found
    for one, copy in zip(found, copies, strict=True):
        if lack := copy.lack():
            one.problem = f"not measured: {lack}"
    for turn in range(rounds):
        for number, (one, copy) in enumerate(zip(found, copies, strict=True)):
            if one.problem:
                continue
            try:
                # Another place each time, for it is the first time.
                dest = f"/app/first-{number}-{turn}/{tree.name}"
                pod.run(f"mkdir -p {dest}")
                argv = copy.argv(tree, dest, pod.name())
                began = time.perf_counter()
                children.run(argv, left(60), cwd=tree.parent, environ=copy.environ)
                took = time.perf_counter() - began
                there = pod.run(f"cd {dest} && {_COUNT}").split()
                if there != wanted:
                    raise RuntimeError(f"files and bytes are {there}, not {wanted}")
                one.times.append(took)
                if int(wanted[0]) < _MANY:
                    pod.run(f"rm -rf /app/first-{number}-{turn}")
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                one.problem = f"failed in round {turn + 1}: {error}"


def programs(folder: Path) -> list[Path]:
    """Two programs, one constant apart."""
    return [_build(folder, "one"), _build(folder, "two")]


def _build(folder: Path, word: str) -> Path:
    """The program with this word in it."""
    made = folder / f"program-{word}"
    if made.exists():
        return made
    source = folder / "go-source"
    source.mkdir(exist_ok=True)
    used = "\n".join(f'\t"{name}"' for name in _USED.split())
    imports = "\n".join(f'\t_ "{name}"' for name in _IMPORTS.split() if name != "plugin")
    (source / "go.mod").write_text("module example.com/program\n\ngo 1.19\n")
    (source / "main.go").write_text(
        f"package main\n\nimport (\n{used}\n{imports}\n)\n\n"
        f'const word = "{word}"\n\nfunc main() {{\n\tfmt.Println(word)\n'
        # A method called by a name that only a run knows keeps all those of types that are used.
        f"\tfor _, one := range []any{{{_TYPES}}} {{\n"
        "\t\treflect.ValueOf(one).MethodByName(os.Args[0])\n\t}\n"
        '\thttp.ListenAndServe(":8080", nil)\n}\n'
    )
    environ = {
        **os.environ,
        "PATH": f"{os.environ['PATH']}{os.pathsep}{_GO}",
        "CGO_ENABLED": "0",
        "KINDLING_WORLD_GO_CACHE": str(folder / "go-cache"),
    }
    argv = ["go", "build", "-o", str(made), "."]
    subprocess.run(argv, cwd=source, env=environ, check=True, timeout=600, capture_output=True)
    return made


def program(
    children: Children,
    pod: Pod,
    folder: Path,
    rows: list[Found],
    *,
    rounds: int,
    left: Callable[[float], float],
) -> None:
    """Bytes and milliseconds of a program with one line changed, beside sending it whole."""
    made = programs(folder)
    kubeconfig = Path(os.environ["KUBECONFIG"])
    ways: tuple[tuple[str, bool, Callable[..., int]], ...] = (
        ("kindling sync, the difference", True, _synced),
        ("kubectl cp, whole", False, _copied),
    )
    for name, ours, change in ways:
        row = Found(name, wanted=rounds, ours=ours)
        rows.append(row)
        try:
            change(children, pod, folder, made, rounds, None, row.times, left)
            relay, through = kubeconfig_through(kubeconfig, folder)
            os.environ["KUBECONFIG"] = str(through)
            try:
                with relay:
                    row.sent = change(children, pod, folder, made, 1, relay, [], left)
            finally:
                os.environ["KUBECONFIG"] = str(kubeconfig)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            row.problem = f"failed: {error}"


def _synced(
    children: Children,
    pod: Pod,
    folder: Path,
    made: list[Path],
    rounds: int,
    relay: Relay | None,
    times: list[float],
    left: Callable[[float], float],
) -> int:
    source = folder / "kindling-program"
    source.mkdir(exist_ok=True)
    loop = next(one for one in LOOPS if one.ours)
    shutil.copyfile(made[0], source / "server")
    running = Running(children, loop, source, pod.name(), left(60))
    try:
        place = "/app/kindling/server"
        _Arrival(children, pod, place, made[0]).at(left(60))
        before = relay.sent if relay else 0
        for number in range(rounds):
            new = made[(number + 1) % 2]
            # Made beside and moved there, as a compiler does it.
            shutil.copyfile(new, folder / "next")
            arrival = _Arrival(children, pod, place, new)
            # Both processors have come to rest after the copy and the start of who looks.
            time.sleep(0.3)
            began = time.time()
            os.replace(folder / "next", source / "server")
            times.append(arrival.at(left(60)) - began)
        return relay.sent - before if relay else 0
    finally:
        running.close()
        pod.wait()


def _copied(
    children: Children,
    pod: Pod,
    _: Path,
    made: list[Path],
    rounds: int,
    relay: Relay | None,
    times: list[float],
    left: Callable[[float], float],
) -> int:
    name = pod.name()
    before = relay.sent if relay else 0
    for number in range(rounds):
        argv = ["kubectl", "cp", str(made[number % 2]), f"{NAMESPACE}/{name}:/app/program"]
        began = time.time()
        children.run(argv, left(60))
        times.append(time.time() - began)
    return relay.sent - before if relay else 0


class _Arrival:
    """Told by a program in the container: when a file there is this one."""

    def __init__(self, children: Children, pod: Pod, place: str, wanted: Path) -> None:
        self._children = children
        digest = hashlib.sha256(wanted.read_bytes()).hexdigest()
        argv = ["kubectl", "-n", NAMESPACE, "exec", pod.name(), "--", "python3", "-u", "-c"]
        self._process = children.start(
            [*argv, _ARRIVAL, place, digest], stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def at(self, seconds: float) -> float:
        try:
            said, _ = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            said = ""
        finally:
            self._children.end(self._process)
        if not said:
            raise RuntimeError("it did not arrive")
        return float(said)
