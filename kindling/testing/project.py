"""A folder with a Kindlingfile, evaluated and nothing more: the test tool of the language."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from kindling.errors import KindlingError
from kindling.graph.node import Where
from kindling.lang.declared import Declarations
from kindling.lang.evaluate import attempt, evaluate
from kindling.lang.inputs import ContextInfo, EvaluationInputs

__all__ = ["Contexts", "Memo", "Project"]


@dataclass
class Contexts:
    """Contexts as a kubeconfig might have them."""

    known: dict[str, ContextInfo] = field(default_factory=dict)
    current: str = ""

    def context(self, name: str = "") -> ContextInfo | None:
        return self.known.get(name or self.current)


@dataclass
class Memo:
    """What `local(deps=)` remembers."""

    kept: dict[str, str] = field(default_factory=dict)

    def recall(self, key: str) -> str | None:
        return self.kept.get(key)

    def remember(self, key: str, output: str) -> None:
        self.kept[key] = output


@dataclass
class Project:
    """A folder with a Kindlingfile."""

    root: Path
    printed: list[str] = field(default_factory=list)
    inputs: EvaluationInputs = field(
        default_factory=lambda: EvaluationInputs(environment={"PATH": "/usr/bin:/bin"})
    )

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def given(self, **changes: object) -> None:
        """Change the inputs of the evaluations that follow."""
        self.inputs = replace(self.inputs, **changes)  # type: ignore[arg-type]

    def _inputs(self, args: tuple[str, ...]) -> EvaluationInputs:
        def output(where: Where, line: str) -> None:  # noqa: ARG001
            self.printed.append(line)

        return replace(self.inputs, args=args or self.inputs.args, output=output)

    def evaluate(self, text: str, *args: str) -> Declarations:
        file = self.write("Kindlingfile", text)
        return evaluate(file, self._inputs(args))

    def error(self, text: str, *args: str) -> KindlingError:
        """The error that evaluating `text` ends in."""
        file = self.write("Kindlingfile", text)
        result = attempt(file, self._inputs(args))
        assert result.declarations is None
        assert result.error is not None
        return result.error

    def fails(self, text: str, *args: str) -> str:
        """The whole text of that error."""
        return self.error(text, *args).render()
