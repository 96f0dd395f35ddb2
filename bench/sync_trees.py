"""Trees and programs that are brought into a container whole: 10,000 small files, 200 MB, and a Go
program that was built anew."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import time
from pathlib import Path

from bench.peers import ROOT
from bench.sync_peers import LOOPS, Running
from bench.sync_pod import NAMESPACE, Pod
from tests.sync.world.faults.relay import Relay, kubeconfig_through

__all__ = ["many_files", "program", "two_hundred_megabytes"]

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


def _build(folder: Path, word: str) -> Path:
    """The program with this word in it."""
    made = folder / f"program-{word}"
    if made.exists():
        return made
    source = folder / "go-source"
    source.mkdir(exist_ok=True)
    imports = "\n".join(f'\t_ "{name}"' for name in _IMPORTS.split() if name != "plugin")
    (source / "go.mod").write_text("module example.com/program\n\ngo 1.19\n")
    (source / "main.go").write_text(
        f'package main\n\nimport (\n\t"fmt"\n\t"net/http"\n{imports}\n)\n\n'
        f'const word = "{word}"\n\nfunc main() {{\n\tfmt.Println(word)\n'
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


def program(pod: Pod, folder: Path) -> list[str]:
    """Bytes and milliseconds of a program with one line changed, beside sending it whole."""
    try:
        programs = [_build(folder, "one"), _build(folder, "two")]
    except (OSError, subprocess.SubprocessError) as error:
        return ["", f"a rebuilt Go program: not measured: {error}"]
    lines = ["", f"a Go program of {programs[1].stat().st_size / 1e6:.1f} MB, one line changed"]
    kubeconfig = Path(os.environ["KUBECONFIG"])
    for name, change in (("kindling sync", _synced), ("kubectl cp, whole", _copied)):
        try:
            times, _ = change(pod, folder, programs, 5, None)
            relay, through = kubeconfig_through(kubeconfig, folder)
            os.environ["KUBECONFIG"] = str(through)
            try:
                with relay:
                    _, sent = change(pod, folder, programs, 1, relay)
            finally:
                os.environ["KUBECONFIG"] = str(kubeconfig)
        except (RuntimeError, subprocess.SubprocessError) as error:
            lines.append(f"  {name}: failed: {error}")
            continue
        times.sort()
        lines.append(
            f"  {name:<40}{times[len(times) // 2] * 1000:>8.0f} ms median of {len(times)}"
            f"{sent / 1e6:>9.3f} MB sent"
        )
    return lines


def _synced(
    pod: Pod, folder: Path, programs: list[Path], rounds: int, relay: Relay | None
) -> tuple[list[float], int]:
    source = folder / "kindling-program"
    source.mkdir(exist_ok=True)
    loop = next(one for one in LOOPS if one.folder == "kindling")
    shutil.copyfile(programs[0], source / "server")
    running = Running(loop, source, pod.name())
    times: list[float] = []
    try:
        place = "/app/kindling/server"
        _Arrival(pod, place, programs[0]).at()
        before = relay.sent if relay else 0
        for number in range(rounds):
            new = programs[(number + 1) % 2]
            # Made beside and moved there, as a compiler does it.
            shutil.copyfile(new, folder / "next")
            arrival = _Arrival(pod, place, new)
            began = time.time()
            os.replace(folder / "next", source / "server")
            times.append(arrival.at() - began)
        return times, relay.sent - before if relay else 0
    finally:
        running.close()
        pod.wait()


def _copied(
    pod: Pod, _: Path, programs: list[Path], rounds: int, relay: Relay | None
) -> tuple[list[float], int]:
    times: list[float] = []
    name = pod.name()
    before = relay.sent if relay else 0
    for number in range(rounds):
        dest = f"{NAMESPACE}/{name}:/app/program"
        began = time.time()
        subprocess.run(
            ["kubectl", "cp", str(programs[number % 2]), dest],
            check=True,
            timeout=300,
            capture_output=True,
        )
        times.append(time.time() - began)
    return times, relay.sent - before if relay else 0


class _Arrival:
    """Told by a program in the container: when a file there is this one."""

    def __init__(self, pod: Pod, place: str, wanted: Path) -> None:
        digest = hashlib.sha256(wanted.read_bytes()).hexdigest()
        argv = ["kubectl", "-n", NAMESPACE, "exec", pod.name(), "--", "python3", "-u", "-c"]
        self._process = subprocess.Popen(
            [*argv, _ARRIVAL, place, digest], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def at(self) -> float:
        try:
            said, _ = self._process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise
        if self._process.returncode:
            raise RuntimeError(f"it did not arrive: {said}")
        return float(said)
