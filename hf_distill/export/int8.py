"""Int8 graphs whose answer for a text does not depend on the other texts of the batch.

Weights are stored in int8 with one scale for each output channel, embeddings with one scale for each row. Activations
are quantized when the model runs, with one scale for each token, as in ZeroQuant: Yao et al. (2022),
https://huggingface.co/papers/2206.01861. `quantize_dynamic` of onnxruntime uses one scale for the whole batch, so that
an answer depends on the texts beside it. The graph has standard operators of ONNX only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

# CPUs without VNNI add two products of an activation, up to 255, and a weight in 16 bits: 2 * 255 * 63 < 2**15.
_LARGEST_WEIGHT = 63
_LARGEST_EMBEDDING = 127
_ZERO_POINT = 128  # activations are unsigned, because only this combination is fast on all CPUs


def quantize_graph(model: onnx.ModelProto) -> None:
    """Quantize the products with constant matrices, and the embeddings, of a float32 graph in place."""
    graph = _Graph(model)
    graph.rewrite(_split_gemm)
    graph.rewrite(_quantize_embedding)
    graph.rewrite(_quantize_product)
    graph.remove_unused()


class _Graph:
    """The nodes and constants of a graph while it is rewritten."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.constants: dict[str, TensorProto] = {constant.name: constant for constant in self.graph.initializer}
        self.quantized_inputs: dict[str, tuple[str, str]] = {}  # input -> names of its int8 values and of its scales

    def matrix(self, name: str) -> np.ndarray | None:
        """Return a constant float32 matrix; None for anything else."""
        constant = self.constants.get(name)
        if constant is None or constant.data_type != TensorProto.FLOAT or len(constant.dims) != 2:
            return None
        return numpy_helper.to_array(constant)

    def add(self, name: str, value: np.ndarray) -> str:
        """Add a constant, unless there is one with this name."""
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def rewrite(self, replace: Callable[[_Graph, NodeProto], Iterator[NodeProto]]) -> None:
        """Replace each node by the nodes that the function yields for it; by itself if there are none."""
        nodes = [new for node in self.graph.node for new in (list(replace(self, node)) or [node])]
        del self.graph.node[:]
        self.graph.node.extend(nodes)

    def remove_unused(self) -> None:
        """Write the constants that the nodes use to the graph."""
        used = set(_inputs(self.graph))
        del self.graph.initializer[:]
        self.graph.initializer.extend(constant for name, constant in self.constants.items() if name in used)


def _inputs(graph: onnx.GraphProto) -> Iterator[str]:
    """Yield the names that the nodes read, also in the branches of a condition or a loop."""
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _inputs(attribute.g)


def _split_gemm(graph: _Graph, node: NodeProto) -> Iterator[NodeProto]:
    """Split the Gemm of a linear layer into a product and a sum."""
    settings: dict[str, Any] = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    weight = graph.matrix(node.input[1]) if node.op_type == "Gemm" else None
    if weight is None or settings.get("alpha", 1) != 1 or settings.get("beta", 1) != 1 or settings.get("transA", 0):
        return
    is_transposed = settings.get("transB", 0)
    name = graph.add(f"{node.input[1]}_transposed", weight.T) if is_transposed else node.input[1]
    (output,) = node.output
    has_bias = len(node.input) > 2
    product = f"{output}_product" if has_bias else output
    yield helper.make_node("MatMul", [node.input[0], name], [product])
    if has_bias:
        yield helper.make_node("Add", [product, node.input[2]], [output])


def _quantize_embedding(graph: _Graph, node: NodeProto) -> Iterator[NodeProto]:
    table = graph.matrix(node.input[0]) if node.op_type == "Gather" else None
    if table is None or any(attribute.name == "axis" and attribute.i != 0 for attribute in node.attribute):
        return
    name, ids, (output,) = node.input[0], node.input[1], node.output
    values, scales = _quantize(table, 1, _LARGEST_EMBEDDING)
    yield helper.make_node("Gather", [graph.add(f"{name}_int8", values), ids], [f"{output}_int8"])
    yield helper.make_node("Cast", [f"{output}_int8"], [f"{output}_float"], to=TensorProto.FLOAT)
    yield helper.make_node("Gather", [graph.add(f"{name}_scales", scales), ids], [f"{output}_scales"])
    yield helper.make_node("Mul", [f"{output}_float", f"{output}_scales"], [output])


def _quantize_product(graph: _Graph, node: NodeProto) -> Iterator[NodeProto]:
    weight = graph.matrix(node.input[1]) if node.op_type == "MatMul" else None
    if weight is None:
        return
    left, name, (output,) = node.input[0], node.input[1], node.output
    values, scales = _quantize(weight, 0, _LARGEST_WEIGHT)
    if left not in graph.quantized_inputs:  # query, key and value have the same input
        graph.quantized_inputs[left] = (f"{left}_int8", f"{left}_scales")
        yield from _quantize_tokens(graph, left)
    left_values, left_scales = graph.quantized_inputs[left]
    zero_point = graph.add("int8_zero_point", np.array(_ZERO_POINT, np.uint8))
    factors = [left_values, graph.add(f"{name}_int8", values), zero_point]
    yield helper.make_node("MatMulInteger", factors, [f"{output}_int32"])
    yield helper.make_node("Cast", [f"{output}_int32"], [f"{output}_float"], to=TensorProto.FLOAT)
    yield helper.make_node("Mul", [f"{output}_float", graph.add(f"{name}_scales", scales[0])], [f"{output}_scaled"])
    yield helper.make_node("Mul", [f"{output}_scaled", left_scales], [output])


def _quantize_tokens(graph: _Graph, name: str) -> Iterator[NodeProto]:
    """Divide each token by its largest absolute value / 127, and round it to int8."""
    axes = graph.add("int8_axes", np.array([-1], np.int64))
    step = graph.add("int8_step", np.array(1 / 127, np.float32))
    smallest = graph.add("int8_smallest_scale", np.array(1e-30, np.float32))  # a token of zeros would be 0 / 0
    one = graph.add("int8_one", np.array(1, np.float32))
    zero_point = graph.add("int8_zero_point", np.array(_ZERO_POINT, np.uint8))
    yield helper.make_node("Abs", [name], [f"{name}_abs"])
    yield helper.make_node("ReduceMax", [f"{name}_abs", axes], [f"{name}_largest"], keepdims=1)
    yield helper.make_node("Mul", [f"{name}_largest", step], [f"{name}_steps"])
    yield helper.make_node("Max", [f"{name}_steps", smallest], [f"{name}_scales"])
    yield helper.make_node("Div", [name, f"{name}_scales"], [f"{name}_divided"])
    yield helper.make_node("QuantizeLinear", [f"{name}_divided", one, zero_point], [f"{name}_int8"])


def _quantize(matrix: np.ndarray, axis: int, largest: int) -> tuple[np.ndarray, np.ndarray]:
    """Return int8 values from -largest to largest, and the scales along an axis, with which they are multiplied."""
    scales = np.abs(matrix).max(axis=axis, keepdims=True) / largest
    scales = np.where(scales == 0, 1, scales).astype(np.float32)
    return np.clip(np.rint(matrix / scales), -largest, largest).astype(np.int8), scales
