"""What a file puts into its environment reaches the commands it declares, as in Tilt."""

from __future__ import annotations

import pytest

from kindling.testing.workbench import Workbench


@pytest.mark.parametrize("line", ["os.putenv('WORD', 'put')", "os.environ['WORD'] = 'put'"])
async def test_variables_that_a_file_sets_reach_its_commands(bench: Workbench, line: str) -> None:
    """Set before the declaration they count; the declaration's own `env` wins."""
    bench.write(
        "Kindlingfile",
        f"{line}\n"
        "local_resource('a', cmd='test \"$WORD\" = put')\n"
        "local_resource('b', cmd='test \"$WORD\" = own', env={'WORD': 'own'})\n"
        "test('c', cmd='test \"$WORD\" = put')\n",
    )
    result = await bench.run("ci")
    assert result.exit_code == 0
