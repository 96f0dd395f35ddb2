"""Whatever is edited, in whatever order and however it is told, all containers end equal."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sync.session.stage import running, staged, tree_of

_NAMES = st.sampled_from(["a", "b", "c", "d/e", "d/f", "d/g/h", "a/i", "b/j"])
_EDITS = st.tuples(
    st.sampled_from(["write", "write", "remove", "folder", "link", "mode", "move"]),
    _NAMES,
    _NAMES,
    st.sampled_from(["", "x", "yy", "z" * 5000]),
)


def _edit(root: Path, kind: str, name: str, other: str, content: str) -> set[str]:
    """Do it where a file system would; the paths that an event would name."""
    path, target = root / name, root / other
    try:
        match kind:
            case "write":
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content)
            case "remove":
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            case "folder":
                path.mkdir(parents=True)
            case "link":
                path.parent.mkdir(parents=True, exist_ok=True)
                path.symlink_to(Path(other).name)
            case "mode":
                path.chmod(0o700 if content else 0o755, follow_symlinks=path.is_symlink() is False)
            case _:
                target.parent.mkdir(parents=True, exist_ok=True)
                path.rename(target)
    except (OSError, NotImplementedError):
        # Not possible as the tree is: then it is no edit. Folders on the way may have been made.
        pass
    return {part for one in (name, other) for part in (one.partition("/")[0], one)}


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.lists(_EDITS, min_size=1, max_size=5), min_size=1, max_size=5))
def test_any_edits_end_equal_in_all_replicas(
    binary: Path, batches: list[list[tuple[str, str, str, str]]]
) -> None:
    async def play(folder: Path) -> None:
        async with staged(binary, folder) as stage:
            stage.deploy(2)
            async with running(stage, stage.session()) as session:
                for number, batch in enumerate(batches):
                    told: set[str] = set()
                    for edit in batch:
                        before = tree_of(stage.source)
                        told |= _edit(stage.source, *edit)
                        # A write through a link changes what no edit has named.
                        after = tree_of(stage.source)
                        told |= {p for p in {*before, *after} if before.get(p) != after.get(p)}
                    if number == 1:
                        stage.pod(0).cuts = 1
                    outcome = await session.changed(sorted(told))
                    assert outcome.ok, outcome
                    wanted = tree_of(stage.source)
                    refused = {one.path for one in session.refused}
                    for pod in stage.current:
                        found = tree_of(pod.root / "app")
                        for name in {*wanted, *found}:
                            if f"app/{name}" not in refused:
                                assert found.get(name) == wanted.get(name), (name, told)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder)))
