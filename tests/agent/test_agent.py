"""Requests are taken, served several at a time, and each answered once, whatever goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kindling.agent.agent import BuildAgent, Limits, Task
from kindling.agent.folder import Folder
from kindling.agent.orders import RefusedError
from kindling.agent.signals import Kind, Request
from kindling.engine.clock import SystemClock
from kindling.errors import ClusterError
from tests.agent.archives import archive

CONTEXT = archive({"Dockerfile": b"FROM scratch\n"})
API = Request(Kind.BUILD, "api")
QUICK = Limits(patience=60.0, quiet=0.05, rescan=0.02)


class Site:
    """A folder, an agent on it, and a worker that does as it is told."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self.limits = limits
        self.said: list[str] = []
        self.began: list[str] = []
        self.ended: list[str] = []
        self.codes: dict[str, int | Exception] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.most = 0
        self.texts: list[str] = []
        self.agent: BuildAgent | None = None
        self.stop = asyncio.Event()

    async def work(self, task: Task) -> int:
        name = task.request.name
        self.began.append(name)
        self.most = max(self.most, len(self.began) - len(self.ended))
        try:
            task.say(f"working on {name}")
            if task.request.kind is Kind.BUILD:
                self.texts.append(task.text(".dest") + task.text(".dockerfile"))
            if name in self.gates:
                await self.gates[name].wait()
            code = self.codes.get(name, 0)
            if isinstance(code, Exception):
                raise code
            return code
        finally:
            self.ended.append(name)

    def write(self, name: str, data: bytes | str = "") -> None:
        (self.path / name).write_bytes(data if isinstance(data, bytes) else data.encode())

    def ask(self, name: str = "api", **more: str) -> None:
        (self.path / f"{name}.done").unlink(missing_ok=True)
        self.write(f"{name}.tar.gz", CONTEXT)
        self.write(f"{name}.dest", "registry:5000/api:x")
        for ending, text in more.items():
            self.write(f"{name}.{ending}", text)
        self.write(f"{name}.request")

    def read(self, name: str) -> str:
        return (self.path / name).read_text()

    def names(self) -> set[str]:
        return {one.name for one in self.path.iterdir() if one.is_file()}

    async def until(self, true: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(60):
                while not true():  # noqa: ASYNC110 (files tell of no change)
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise AssertionError(f"{what}: {self.names()} {self.said}") from None

    async def answered(self, done: str = "api.done") -> None:
        await self.until(lambda: done in self.names(), f"no {done}")

    async def idle(self) -> None:
        await self.until(lambda: self.agent is not None and not self.agent.busy, "busy")


@asynccontextmanager
async def serving(site: Site) -> AsyncIterator[Site]:
    folder = Folder(site.path)
    folder.open()
    site.stop = asyncio.Event()
    workers = dict.fromkeys(Kind, site.work)
    site.agent = BuildAgent(folder, workers, SystemClock(), site.said.append, site.limits)
    run = asyncio.create_task(site.agent.run(site.stop))
    try:
        yield site
    finally:
        site.stop.set()
        await run
        folder.close()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, QUICK)


@pytest.mark.parametrize("code", [0, 1, 77])
async def test_row_45_a_request_is_answered_with_the_tools_exit_code(site: Site, code: int) -> None:
    site.codes["api"] = code
    async with serving(site):
        site.ask()
        await site.answered()
    assert site.read("api.exitcode").strip() == str(code)
    assert site.read("api.log") == "working on api\n"
    assert site.names() == {"api.log", "api.exitcode", "api.done"}


async def test_row_46_applies_and_scripts_have_answers_of_their_own(site: Site) -> None:
    async with serving(site):
        site.write("api-dse.yaml", "{}")
        site.write("api-dse.apply")
        site.write("api.sh", "true")
        site.write("api.kubectl")
        site.ask()
        await site.answered("api-dse.apply-done")
        await site.answered("api.kubectl-done")
        await site.answered()
    assert site.names() == {
        *(f"api-dse.apply-{end}" for end in ("log", "exitcode", "done")),
        *(f"api.kubectl-{end}" for end in ("log", "exitcode", "done")),
        *(f"api.{end}" for end in ("log", "exitcode", "done")),
    }


async def test_row_47_an_earlier_dockerfile_is_not_used_again(site: Site) -> None:
    async with serving(site):
        site.ask(dockerfile="Dockerfile.dev")
        await site.answered()
        await site.idle()
        site.ask()
        await site.answered()
    assert site.texts == ["registry:5000/api:xDockerfile.dev", "registry:5000/api:x"]


async def test_row_47_an_answer_goes_as_soon_as_a_new_context_comes(site: Site) -> None:
    """Also for jobs that do not clean up: they write the context long before the trigger."""
    async with serving(site):
        site.ask()
        await site.answered()
        site.write("api.tar.gz", CONTEXT)
        await site.until(lambda: "api.done" not in site.names(), "the old answer is still there")
    assert len(site.began) == 1


@pytest.mark.parametrize("name", ["a b", "a;id", "..", "$(id)", "-rf", "a\nb", "a..b"])
async def test_row_48_a_wrong_name_is_refused_with_an_answer(site: Site, name: str) -> None:
    async with serving(site):
        site.ask(name)
        await site.answered(f"{name}.done")
    assert site.read(f"{name}.exitcode").strip() == "2"
    assert "refused" in site.read(f"{name}.log")
    assert site.began == []
    assert site.names() == {f"{name}.log", f"{name}.exitcode", f"{name}.done"}


async def test_row_49_a_request_under_way_begins_anew_after_a_crash(site: Site) -> None:
    site.ask()
    site.write("api.request.processing")
    (site.path / "api.request").unlink()
    site.write("api.log", "half a l")
    async with serving(site):
        await site.answered()
    assert site.read("api.exitcode").strip() == "0"
    assert site.read("api.log").splitlines()[-1] == "working on api"
    assert "started again" in site.read("api.log")


async def test_row_49_a_script_under_way_fails_after_a_crash(site: Site) -> None:
    """It may have done half of its work: to run it twice would not be what it asked for."""
    site.write("api.sh", "true")
    site.write("api.kubectl.processing")
    async with serving(site):
        await site.answered("api.kubectl-done")
    assert site.read("api.kubectl-exitcode").strip() == "1"
    assert "not known" in site.read("api.kubectl-log")
    assert site.began == []


async def test_row_49_a_request_that_ends_the_agent_again_and_again_fails(site: Site) -> None:
    for _ in range(3):
        folder = Folder(site.path)
        folder.open()
        if not site.names() & {"api.request.processing"}:
            site.ask()
            folder.claim(API)
        folder.attempt(API)
        folder.close()
    async with serving(site):
        await site.answered()
    assert site.read("api.exitcode").strip() == "1"
    assert "3 times" in site.read("api.log")
    assert site.began == []


async def test_an_answer_that_was_published_before_a_crash_stands(site: Site) -> None:
    for ending, text in (("log", "l"), ("exitcode", "4"), ("done", ""), ("request.processing", "")):
        site.write(f"api.{ending}", text)
    async with serving(site):
        await site.until(lambda: "api.request.processing" not in site.names(), "still taken")
    assert site.names() == {"api.log", "api.exitcode", "api.done"}
    assert site.read("api.exitcode") == "4"
    assert site.began == []


async def test_the_log_grows_while_the_work_goes_on(site: Site) -> None:
    site.gates["api"] = asyncio.Event()
    async with serving(site):
        site.ask()
        await site.until(lambda: "api.log" in site.names() and bool(site.read("api.log")), "no log")
        assert site.read("api.log") == "working on api\n"
        assert "api.done" not in site.names()
        site.gates["api"].set()
        await site.answered()


async def test_several_are_served_at_once_and_no_more_than_allowed(tmp_path: Path) -> None:
    limits = Limits({Kind.BUILD: 2}, patience=60.0, quiet=0.05, rescan=0.02)
    site = Site(tmp_path, limits)
    names = [f"s{number}" for number in range(6)]
    site.gates = {name: asyncio.Event() for name in names}
    async with serving(site):
        for name in names:
            site.ask(name)
        await site.until(lambda: len(site.began) == 2, "two do not run")
        await site.until(
            lambda: (
                sum("waiting for a place" in site.read(f"{n}.log") for n in names) == 4
                if all(f"{n}.log" in site.names() for n in names)
                else False
            ),
            "four do not wait",
        )
        for gate in site.gates.values():
            gate.set()
        for name in names:
            await site.answered(f"{name}.done")
    assert site.most == 2
    assert sorted(site.began) == names


async def test_a_script_does_not_wait_for_builds(site: Site) -> None:
    for name in ("a", "b", "c"):
        site.gates[name] = asyncio.Event()
    async with serving(site):
        for name in site.gates:
            site.ask(name)
        await site.until(lambda: len(site.began) == 2, "builds do not run")
        site.write("wait.sh", "true")
        site.write("wait.kubectl")
        await site.answered("wait.kubectl-done")
        for gate in site.gates.values():
            gate.set()


async def test_a_trigger_before_its_inputs_waits_until_they_are_whole(site: Site) -> None:
    async with serving(site):
        site.write("api.request")
        await site.until(lambda: "api.request.processing" in site.names(), "not taken")
        site.write("api.tar.gz", CONTEXT[:40])
        site.write("api.dest", "registry:5000/api:x")
        await site.until(lambda: "api.tar.gz" not in site.names(), "not taken in")
        assert site.began == []
        site.write("api.tar.gz", CONTEXT)
        await site.answered()
    assert site.began == ["api"]
    assert site.read("api.exitcode").strip() == "0"


async def test_an_upload_that_goes_on_after_the_trigger_is_not_read_half(site: Site) -> None:
    """The writer keeps its file open, wherever the agent has moved it meanwhile."""
    async with serving(site):
        with (site.path / "api.tar.gz").open("wb", buffering=0) as upload:
            upload.write(CONTEXT[:30])
            site.write("api.dest", "registry:5000/api:x")
            site.write("api.request")
            await site.until(lambda: "api.request.processing" in site.names(), "not taken")
            await site.until(lambda: "api.tar.gz" not in site.names(), "not taken in")
            upload.write(CONTEXT[30:50])
            assert site.began == []
            upload.write(CONTEXT[50:])
        await site.answered()
    assert site.read("api.exitcode").strip() == "0"


@pytest.mark.parametrize("what", ["tar.gz", "dest"])
async def test_a_request_whose_inputs_never_come_is_refused(tmp_path: Path, what: str) -> None:
    site = Site(tmp_path, Limits(patience=0.3, quiet=0.02, rescan=0.02))
    async with serving(site):
        site.ask("other")
        (tmp_path / "api.request").unlink(missing_ok=True)
        for ending, data in (("tar.gz", CONTEXT), ("dest", b"registry:5000/api:x")):
            if ending != what:
                site.write(f"api.{ending}", data)
        site.write("api.request")
        await site.answered()
        await site.answered("other.done")
    assert site.read("api.exitcode").strip() == "2"
    assert f"`api.{what}` did not come" in site.read("api.log")


async def test_a_context_that_stays_cut_short_is_refused(tmp_path: Path) -> None:
    site = Site(tmp_path, Limits(patience=0.3, quiet=0.02, rescan=0.02))
    async with serving(site):
        site.write("api.tar.gz", CONTEXT[:-9])
        site.write("api.dest", "registry:5000/api:x")
        site.write("api.request")
        await site.answered()
    assert "`api.tar.gz` is cut short" in site.read("api.log")
    assert site.began == []


async def test_a_job_that_takes_its_request_back_ends_the_work(site: Site) -> None:
    site.gates["api"] = asyncio.Event()
    async with serving(site):
        site.ask()
        await site.until(lambda: site.began == ["api"], "not begun")
        (site.path / "api.request.processing").unlink()
        await site.until(lambda: site.ended == ["api"], "not ended")
        await site.idle()
    assert site.names() == set()


async def test_a_newer_request_of_the_same_name_takes_the_place_of_the_old(site: Site) -> None:
    site.gates["api"] = asyncio.Event()
    async with serving(site):
        site.ask()
        await site.until(lambda: site.began == ["api"], "not begun")
        del site.gates["api"]
        site.write("api.tar.gz", CONTEXT)
        site.write("api.dest", "registry:5000/api:second")
        site.write("api.request", "second")
        await site.answered()
    assert site.read("api.done") == "second\n"
    assert site.texts == ["registry:5000/api:x", "registry:5000/api:second"]
    assert site.ended == ["api", "api"]


async def test_told_to_stop_the_agent_answers_what_it_cuts_off(site: Site) -> None:
    site.gates["api"] = asyncio.Event()
    async with serving(site):
        site.ask()
        await site.until(lambda: site.began == ["api"], "not begun")
    assert site.ended == ["api"]
    assert site.read("api.exitcode").strip() == "143"
    assert "told to stop" in site.read("api.log")


async def test_what_the_cluster_refuses_is_in_the_log(site: Site) -> None:
    site.codes["api"] = ClusterError("pods is forbidden", hint="Ask somebody")
    site.codes["web"] = RefusedError("no image reference")
    async with serving(site):
        site.ask()
        site.ask("web")
        await site.answered()
        await site.answered("web.done")
    assert site.read("api.exitcode").strip() == "1"
    assert "kindling: pods is forbidden" in site.read("api.log")
    assert "Ask somebody" in site.read("api.log")
    assert site.read("web.exitcode").strip() == "2"


async def test_a_look_needs_no_rescan(tmp_path: Path) -> None:
    site = Site(tmp_path, Limits(rescan=3600.0))
    async with serving(site):
        await asyncio.sleep(0)
        site.ask()
        assert site.agent is not None
        site.agent.look()
        await site.answered()
