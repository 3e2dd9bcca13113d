"""The item vectors of a bundle, for whoever compares items: without torch, and without onnx.

A graph of ``model.export`` ends in scores = state @ vectors + bias, and holds the vectors as a
constant. Reading it takes as much of the format as stands here (onnx.proto: a file is a message of
numbered fields, each a number or a run of bytes).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from model.bundle import INDEX_FILES, Bundle, BundleError
from model.diversity import Diversity

Field: TypeAlias = "int | memoryview"

GRAPH = 7
NODE, CONSTANT = 1, 5
NODE_INPUT, NODE_OUTPUT, NODE_KIND = 1, 2, 4
TENSOR_SIZES, TENSOR_KIND, TENSOR_NAME, TENSOR_BYTES = 1, 2, 8, 9
FLOAT = 1


class _Node(NamedTuple):
    kind: str
    inputs: list[str]


def diversity_of(bundle: Bundle, strength: float) -> Diversity | None:
    """Diversity by the network's item vectors; None at strength 0, which reads nothing.

    Raises:
        BundleError: the graph does not end as it should.
    """
    if not strength:
        return None
    return Diversity(strength, *shared_item_vectors(bundle))


def shared_item_vectors(bundle: Bundle) -> tuple[NDArray[np.float32], int]:
    """float32 [V, at least D], the vector of each row of the vocabulary, and D.

    Raises:
        BundleError: the graph does not end as it should.
    """
    if bundle.has_index:
        # The workers of a machine share it; the last column is no part of the vectors.
        held = np.load(bundle.path / INDEX_FILES[1], mmap_mode="r", allow_pickle=False)
        return np.asarray(held), held.shape[1] - 1
    vectors = read_item_vectors(bundle)
    return vectors, vectors.shape[1]


def read_item_vectors(bundle: Bundle) -> NDArray[np.float32]:
    """float32 [V, D]: the vector of each row of the vocabulary, out of the full graph.

    Raises:
        BundleError: the graph does not end as it should.
    """
    path = bundle.graph()
    try:
        table = vectors_in(path)
        if table.shape[0] != len(bundle.vocabulary):
            raise ValueError(f"{table.shape[0]} items")
    except (KeyError, IndexError, ValueError) as error:
        raise BundleError(
            f"{path} does not end in a product with the vectors of its items ({error!r}), which "
            "diversity needs; run `nextclick train` again, or set NEXTCLICK_DIVERSITY=0"
        ) from None
    return table


def vectors_in(graph: Path) -> NDArray[np.float32]:
    """float32 [V, D], out of a graph of ``model.export``.

    Raises:
        KeyError, IndexError, ValueError: it does not end as it should.
    """
    return _scored(np.memmap(graph, np.uint8, "r").data)


def _scored(file: memoryview) -> NDArray[np.float32]:
    graph = _bytes(file, GRAPH)[0]
    nodes: dict[str, _Node] = {}
    for each in _bytes(graph, NODE):
        node = _Node(_text(each, NODE_KIND)[0], _text(each, NODE_INPUT))
        nodes |= dict.fromkeys(_text(each, NODE_OUTPUT), node)
    name = "candidate_scores"
    for kind, operand in (("GatherElements", 0), ("Add", 0), ("MatMul", 1)):
        node = nodes[name]
        if node.kind != kind:
            raise ValueError(f"{name} is made by {node.kind} and not by {kind}")
        name = node.inputs[operand]
    # The exporter keeps one of several equal constants, and points at it.
    while name in nodes and nodes[name].kind == "Identity":
        name = nodes[name].inputs[0]
    constant = {_text(each, TENSOR_NAME)[0]: each for each in _bytes(graph, CONSTANT)}[name]
    sizes, (kind_of,) = _numbers(constant, TENSOR_SIZES), _numbers(constant, TENSOR_KIND)
    if kind_of != FLOAT or len(sizes) != 2:
        raise ValueError(f"{name} is no float32 matrix")
    table = np.frombuffer(_bytes(constant, TENSOR_BYTES)[0], "<f4").reshape(sizes)
    # Lists read whole rows.
    return np.array(table.T, np.float32, order="C")


def _fields(message: memoryview) -> Iterator[tuple[int, Field]]:
    """The fields of a message: number, and value."""
    at = 0
    while at < len(message):
        key, at = _number(message, at)
        match key & 7:
            case 0:
                value, at = _number(message, at)
                yield key >> 3, value
            case 2:
                size, at = _number(message, at)
                yield key >> 3, message[at : at + size]
                at += size
            case 1:
                at += 8
            case 5:
                at += 4
            case other:
                raise ValueError(f"a field of kind {other}")


def _number(message: memoryview, at: int) -> tuple[int, int]:
    """A number, seven bits a byte, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _bytes(message: memoryview, number: int) -> list[memoryview]:
    return [
        value
        for field, value in _fields(message)
        if field == number and isinstance(value, memoryview)
    ]


def _text(message: memoryview, number: int) -> list[str]:
    return [bytes(each).decode() for each in _bytes(message, number)]


def _numbers(message: memoryview, number: int) -> list[int]:
    """Repeated numbers, each a field of its own or all packed into one."""
    found: list[int] = []
    for field, value in _fields(message):
        if field == number and isinstance(value, int):
            found.append(value)
        elif field == number and isinstance(value, memoryview):
            at = 0
            while at < len(value):
                each, at = _number(value, at)
                found.append(each)
    return found
