"""The exported graph without the product over the catalogue: its cost does not grow with the items.

Cut out of the full graph (``model.export``), so that whatever that one computes, this one does too.
What the network knows of an item at the end, its vector and its learned bias, becomes one row of a
table, and a 1 at the end of each state adds the bias: a score is one inner product, for the search
of ``model.item_index`` as for this graph. The table is an input, for worker and search share it.

====================  ==================  =======================================================
input                                     meaning
====================  ==================  =======================================================
``items``, ``kinds``  int64 [B, L]        as in ``model.export``; so are ``gaps``, and ``queries``
                                          of a network that reads them
``candidates``        int64 [B, C]        rows to be scored, 0 = padding
``item_vectors``      float32 [V, D + 1]  the table
====================  ==================  =======================================================

Outputs: ``states`` float32 [B, D + 1], the last column 1; ``candidate_scores`` float32 [B, C].
"""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from model.item_index import ITEM_VECTORS, STATE_OUTPUTS


class StateGraphError(RuntimeError):
    """The full graph does not end as ``model.export`` writes it."""


def cut_state_graph(model: Path, out: Path) -> NDArray[np.float32]:
    """Write the graph of states of a full graph.

    Args:
        model: the full graph in float32.
        out: where to write the other one.

    Returns:
        The table of the items, float32 [V, D + 1].

    Raises:
        StateGraphError: the full graph is not one of ``model.export``.
    """
    whole = onnx.load(model)
    ending = _Ending(whole.graph)
    vectors = np.hstack([ending.table, ending.bias[:, None]])
    nodes = [*_from_table(_needed(whole.graph, ending.state), ending), *_last_nodes(ending.state)]
    rows, width = vectors.shape
    read = {name for node in nodes for name in node.input}
    inputs = [each for each in whole.graph.input if each.name in read]
    inputs.append(helper.make_tensor_value_info(ITEM_VECTORS, TensorProto.FLOAT, [rows, width]))
    scores = next(each for each in whole.graph.output if each.name == STATE_OUTPUTS[1])
    states = helper.make_tensor_value_info(STATE_OUTPUTS[0], TensorProto.FLOAT, ["B", width])
    constants = [each for each in whole.graph.initializer if each.name in read]
    constants += _constants(width)
    graph = helper.make_graph(nodes, "states", inputs, [states, scores], constants)
    made = helper.make_model(graph, opset_imports=whole.opset_import, ir_version=whole.ir_version)
    onnx.checker.check_model(made)
    onnx.save(made, out)
    return vectors


class _Ending:
    """The last steps of a full graph: scores = state @ table.T + bias."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._made_by = {name: node for node in graph.node for name in node.output}
        self._constants = {each.name: each for each in graph.initializer}
        taken = self._maker(STATE_OUTPUTS[1], "GatherElements")
        biased = self._maker(taken.input[0], "Add")
        product = self._maker(biased.input[0], "MatMul")
        self.state: str = product.input[0]
        self.table = np.ascontiguousarray(self._constant(product.input[1]).T)
        """float32 [V, D]"""
        self.bias = self._constant(biased.input[1])
        """float32 [V]"""
        if self.table.ndim != 2 or self.bias.shape != self.table.shape[:1]:
            raise StateGraphError(
                f"the items of the graph are of shape {self.table.shape}, their biases of "
                f"{self.bias.shape}; export the network with this version of nextclick"
            )

    def is_table(self, name: str) -> bool:
        """Whether that is the table, the right way round."""
        held = self._constants.get(name)
        if held is None or tuple(held.dims) != self.table.shape:
            return False
        return np.array_equal(numpy_helper.to_array(held), self.table)

    def _maker(self, name: str, operation: str) -> onnx.NodeProto:
        node: onnx.NodeProto | None = self._made_by.get(name)
        if node is None or node.op_type != operation:
            found = "nothing" if node is None else node.op_type
            raise StateGraphError(
                f"{name} is made by {found} and not by {operation}; export the network with this "
                "version of nextclick"
            )
        return node

    def _constant(self, name: str) -> NDArray[np.float32]:
        # The exporter keeps one of several equal constants, and points at it.
        while name not in self._constants:
            name = self._maker(name, "Identity").input[0]
        return np.asarray(numpy_helper.to_array(self._constants[name]), np.float32)


def _needed(graph: onnx.GraphProto, name: str) -> list[onnx.NodeProto]:
    """The nodes that make a value, in their order."""
    wanted, kept = {name}, []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]


def _from_table(nodes: list[onnx.NodeProto], ending: _Ending) -> list[onnx.NodeProto]:
    """The same nodes, which take the vectors of the history out of the input."""
    made: list[onnx.NodeProto] = []
    for node in nodes:
        if node.op_type == "Gather" and ending.is_table(node.input[0]):
            with_bias = f"{node.output[0]}_with_bias"
            made += [
                helper.make_node("Gather", [ITEM_VECTORS, node.input[1]], [with_bias], axis=0),
                helper.make_node(
                    "Slice", [with_bias, "first", "bias_at", "last_axis"], [node.output[0]]
                ),
            ]
        else:
            made.append(node)
    return made


def _last_nodes(state: str) -> list[onnx.NodeProto]:
    states, scores = STATE_OUTPUTS
    return [
        helper.make_node("Pad", [state, "one_more", "one"], [states]),
        helper.make_node("Gather", [ITEM_VECTORS, "candidates"], ["candidate_vectors"], axis=0),
        helper.make_node("Unsqueeze", [states, "last_axis"], ["columns"]),
        helper.make_node("MatMul", ["candidate_vectors", "columns"], ["score_columns"]),
        helper.make_node("Squeeze", ["score_columns", "last_axis"], [scores]),
    ]


def _constants(width: int) -> list[TensorProto]:
    numbers = {
        "first": np.array([0]),
        "bias_at": np.array([width - 1]),
        "last_axis": np.array([-1]),
        "one_more": np.array([0, 0, 0, 1]),
        "one": np.array(1, np.float32),
    }
    return [numpy_helper.from_array(value, name) for name, value in numbers.items()]
