"""Shapes written by hand, for tests that need no server and no tables."""

from __future__ import annotations

from kindling.cluster.model.shape import ANY, ListType, Shape, Sort, ValueShape

SCALAR = ValueShape()


def struct(**fields: Shape) -> ValueShape:
    return ValueShape(Sort.OBJECT, fields)


def mapping(values: Shape = SCALAR) -> ValueShape:
    return ValueShape(Sort.OBJECT, values=values)


def keyed(item: Shape, *keys: str, merge_key: str = "") -> ValueShape:
    """A list of items told apart by keys; a strategic merge goes by the first."""
    return ValueShape(
        Sort.LIST,
        item=item,
        list_type=ListType.MAP,
        list_keys=keys,
        merge_key=merge_key or keys[0],
        patch_strategies=frozenset(("merge",)),
        defaults={"protocol": "TCP"},
    )


SET = ValueShape(
    Sort.LIST,
    item=SCALAR,
    list_type=ListType.SET,
    patch_strategies=frozenset(("merge",)),
)
ATOMIC = ValueShape(Sort.LIST, item=ANY)

PORT = ValueShape(
    Sort.OBJECT, {"port": SCALAR, "protocol": SCALAR, "name": SCALAR}, defaults={"protocol": "TCP"}
)
ITEM = struct(
    name=SCALAR,
    image=SCALAR,
    args=ATOMIC,
    ports=keyed(PORT, "port", "protocol"),
    limits=mapping(),
    probe=struct(path=SCALAR, port=SCALAR),
)
THING = struct(
    apiVersion=SCALAR,
    kind=SCALAR,
    metadata=struct(
        name=SCALAR,
        namespace=SCALAR,
        uid=SCALAR,
        resourceVersion=SCALAR,
        generation=SCALAR,
        creationTimestamp=SCALAR,
        labels=mapping(),
        annotations=mapping(),
        finalizers=SET,
        managedFields=ATOMIC,
    ),
    spec=struct(
        replicas=SCALAR,
        items=keyed(ITEM, "name"),
        tags=SET,
        words=ATOMIC,
        whole=ValueShape(Sort.OBJECT, values=SCALAR, atomic=True),
        anything=ANY,
        by_name=mapping(struct(a=SCALAR, b=SCALAR)),
    ),
    status=struct(phase=SCALAR),
)
"""A custom kind with a field of every sort."""

VERSION = "kindling.dev/v1"
