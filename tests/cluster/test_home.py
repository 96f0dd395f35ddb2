"""Where clusters live, and what may name one."""

from __future__ import annotations

from pathlib import Path

import pytest

from kindling.cluster.home import ClusterHome
from kindling.cluster.ports import listen
from kindling.cluster.record import Settings, read_settings, write_settings
from kindling.errors import ClusterError, UsageError


@pytest.mark.parametrize("name", ["", "A", "a/b", "..", "-a", "a-", "a" * 41, "a.b", "a\n"])
def test_a_name_that_could_not_be_a_context_or_folder_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a cluster"):
        ClusterHome.of(name)


def test_homes_are_those_of_clusters_that_were_started(tmp_path: Path) -> None:
    environment = {"XDG_DATA_HOME": str(tmp_path)}
    home = ClusterHome.of("demo", environment)
    home.folder.mkdir(parents=True)
    (home.folder.parent / "Not a name").mkdir()
    assert ClusterHome.all(environment) == ()
    write_settings(home, Settings(api_port=1))
    assert ClusterHome.all(environment) == (home,)
    assert (home.context, home.exists) == ("kindling-demo", True)


def test_settings_survive_and_broken_ones_are_named(tmp_path: Path) -> None:
    home = ClusterHome.of("demo", {"XDG_DATA_HOME": str(tmp_path)})
    assert read_settings(home) == Settings()
    settings = Settings(1, 2, 3, "none", "plain processes", ("no root",))
    write_settings(home, settings)
    assert read_settings(home) == settings
    home.settings.write_text("{")
    with pytest.raises(ClusterError, match="Cannot read the cluster's settings"):
        read_settings(home)


def test_a_port_is_kept_unless_somebody_else_has_it() -> None:
    first = listen(0)
    port = first.getsockname()[1]
    with first, listen(port) as second:
        assert second.getsockname()[1] != port
    with listen(port) as again:
        assert again.getsockname()[1] == port
    with listen(0, preferred=port) as chosen, listen(0, preferred=port) as following:
        assert chosen.getsockname()[1] == port
        assert port < following.getsockname()[1]
