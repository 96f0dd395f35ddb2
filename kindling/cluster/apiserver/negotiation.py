"""Which form of an object a client wants: as it is, as a table, or its metadata alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from kindling.cluster.model.status import ApiError, not_acceptable

__all__ = ["Form", "View", "negotiate", "wants"]

_ACCEPTED = (
    "only the following media types are accepted: application/json, application/yaml,"
    " application/json;as=Table;v=v1;g=meta.k8s.io,"
    " application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
)
_JSON = frozenset({"application/json", "application/*", "*/*"})


class View(StrEnum):
    OBJECT = ""
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"
    METADATA_LIST = "PartialObjectMetadataList"


@dataclass(frozen=True, slots=True)
class Form:
    """What to send: the view of the object, its apiVersion in meta.k8s.io, and JSON or YAML."""

    view: View = View.OBJECT
    version: str = "v1"
    yaml: bool = False

    @property
    def content_type(self) -> str:
        return "application/yaml" if self.yaml else "application/json"


@lru_cache(maxsize=256)
def negotiate(accept: str) -> Form:
    """The first of the acceptable forms that we have. Raises `ApiError` 406 where there is none.

    Protobuf is passed over: clients that prefer it name JSON as well, and take that.
    """
    if not accept.strip():
        return Form()
    for media, parameters in _parse(accept):
        if media in _JSON or media == "application/yaml":
            yaml = media == "application/yaml"
            view = parameters.get("as", "")
            if not view:
                return Form(yaml=yaml)
            version = parameters.get("v", "")
            known = view in set(View) and parameters.get("g") == "meta.k8s.io"
            if known and version in ("v1", "v1beta1"):
                return Form(View(view), version, yaml)
    raise _refused()


def wants(accept: str, view: str, group: str, versions: tuple[str, ...]) -> str:
    """The first version of a special form that the client prefers to plain JSON; empty for
    none."""
    for media, parameters in _parse(accept):
        if media in _JSON:
            if parameters.get("as") == view and parameters.get("g") == group:
                if parameters.get("v", "") in versions:
                    return parameters["v"]
            elif "as" not in parameters:
                return ""
    return ""


def _refused() -> ApiError:
    return not_acceptable(_ACCEPTED)


def _parse(accept: str) -> list[tuple[str, dict[str, str]]]:
    """Media types with their parameters, best first: by `q`, and by their order where it is
    equal."""
    found: list[tuple[float, str, dict[str, str]]] = []
    for clause in accept.split(",")[:100]:
        media, *rest = (part.strip() for part in clause.split(";"))
        parameters: dict[str, str] = {}
        for part in rest:
            name, _, value = part.partition("=")
            parameters[name.strip().lower()] = value.strip().strip('"')
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            quality = 0.0
        if media and quality > 0:
            found.append((quality, media.lower(), parameters))
    found.sort(key=lambda item: -item[0])
    return [(media, parameters) for _, media, parameters in found]
