"""Int8 graphs: the rounding of weights and tokens by hand, and answers that do not depend on the batch."""

import json

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny import tiny_rows

from hf_distill import Predictor, export_model
from hf_distill.export.batching import TokenIds, measure_batch_dependence
from hf_distill.export.int8 import quantize_graph


def quantized(nodes, constants, input_type=TensorProto.FLOAT):
    """Return a function that runs the int8 version of a graph from `x` to `y`."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", input_type, None)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    quantize_graph(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})[0]


def test_each_token_and_each_output_has_its_own_scale():
    weight = np.array([[0.63, 100.0], [0.10, -50.0]], np.float32)  # steps of 0.01 and 100 / 63
    run = quantized([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weight})
    tokens = np.array([[1.27, 0.50], [12_700, 100.0], [0.0, 0.0]], np.float32)  # steps of 0.01, 100 and 0
    small, large = [127, 50], [127, 1]
    columns = np.array([[63, 63], [10, -32]])  # -50 is -31.5 steps, rounded to even
    expected = np.array([[0.01], [100], [0]]) * (np.array([small, large, [0, 0]]) @ columns) * [0.01, 100 / 63]
    np.testing.assert_allclose(run(tokens), expected, rtol=1e-5)
    for row in range(3):
        np.testing.assert_array_equal(run(tokens[[row]]), run(tokens)[[row]])


def test_the_largest_values_do_not_overflow_on_a_cpu_without_vnni():
    run = quantized([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": np.ones((64, 4), np.float32)})
    np.testing.assert_allclose(run(np.ones((3, 64), np.float32)), 64, rtol=1e-5)
    np.testing.assert_allclose(run(-np.ones((3, 64), np.float32)), -64, rtol=1e-5)


@pytest.mark.parametrize("is_transposed", [0, 1])
@pytest.mark.parametrize("bias", [["b"], []])
def test_a_linear_layer_keeps_its_bias_and_orientation(is_transposed, bias):
    weight, constants = np.array([[1.0, 0.0, -2.0], [0.0, 2.0, 2.0]], np.float32), {"b": np.float32([0.1, 0.2, 0.3])}
    constants = {"w": np.ascontiguousarray(weight.T) if is_transposed else weight} | (constants if bias else {})
    run = quantized([helper.make_node("Gemm", ["x", "w", *bias], ["y"], transB=is_transposed)], constants)
    x = np.array([[1.27, 0.64]], np.float32)
    expected = x @ weight + (np.float32([0.1, 0.2, 0.3]) if bias else 0)
    np.testing.assert_allclose(run(x), expected, rtol=1e-5)


def test_each_row_of_a_table_has_its_own_scale():
    table = np.array([[1.27, -0.01], [0.0127, 0.005], [0.0, 0.0]], np.float32)
    run = quantized([helper.make_node("Gather", ["t", "x"], ["y"])], {"t": table}, TensorProto.INT64)
    np.testing.assert_allclose(run(np.array([[1, 0], [2, 1]])), table[[[1, 0], [2, 1]]], rtol=1e-2)


def test_products_of_activations_and_other_weights_are_not_changed():
    weight = np.full((2, 3, 2), 0.123, np.float32)  # one matrix for each head
    run = quantized([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weight})
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    np.testing.assert_array_equal(run(x), x @ weight)


@pytest.fixture(scope="module")
def int8_predictor(model, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8") / "export"
    export_model(model, folder, quantize="int8", processing_class=tokenizer, tolerance=1.0)
    return Predictor(folder)


def test_the_parity_says_that_no_answer_depends_on_its_batch(int8_predictor):
    record = json.loads((int8_predictor.folder / "export.json").read_text())
    parity = record["variants"]["int8"]["parity"]
    assert parity["batchings"] == "63 rows, one by one and shuffled in batches of 8, 8, 32"
    assert parity["batch_dependent_decisions"] == 0
    assert parity["batch_difference"] < 1e-5


class BatchDependent(Predictor):
    """Adds 1.5 to the first class of a text that shares its batch with a longer text."""

    def run(self, inputs):
        is_padded = inputs["attention_mask"][:, -1] == 0
        return np.stack([1.5 * is_padded, np.ones(len(is_padded)), np.zeros(len(is_padded))], axis=1)


def test_decisions_that_depend_on_the_batch_are_counted(folder):
    rows = [TokenIds([5] * length, [0] * length) for length in (4, 4, 4, 4, 4, 9)]
    measured = measure_batch_dependence(BatchDependent(folder), rows)
    # In a batch of all six rows, five are padded, and none is padded by itself.
    assert (measured["batch_dependent_decisions"], measured["batch_difference"]) == (5, 1.5)


def test_the_answer_for_a_text_does_not_depend_on_its_batch(int8_predictor):
    texts = [row["text"] for row in tiny_rows(40, seed=9)] + ["good " * 60, "", "film"]
    expected = int8_predictor.logits(texts, batch_size=1)
    assert len(set(expected.argmax(axis=1).tolist())) > 1, "or the test would be vacuous"
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(texts))
        encodings = [int8_predictor.encode(texts[i]) for i in order]
        for start in range(0, len(texts), 8):  # not sorted by length, so that most texts are padded
            batch = encodings[start : start + 8]
            logits = int8_predictor.run(int8_predictor.pad([e.ids for e in batch], [e.type_ids for e in batch]))
            np.testing.assert_allclose(logits, expected[order[start : start + 8]], atol=1e-5)
