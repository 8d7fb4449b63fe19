"""Compare ways to make an ONNX export small and fast: size, time, agreement, and dependence of an answer on its batch.

    python benchmarks/export_variants.py [--quick] [--threads 1]

Two students, with 2 and 3 layers of MiniLM-L6, are fine-tuned for one epoch on 2,400 real sentences and exported. The
variants take turns in one process. The table has the least CPU time of a call; other programs do not count in it.
Agreement and the largest difference of the logits are against float32, on sentences that were not in the training. For
the dependence on the batch, the sentences run one by one and shuffled in batches of 8, 8 and 32. OpenVINO is
compared if it is installed.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from material import NAMES, WORK, find_minilm, fine_tune, read_sentences, tokenize
from onnx import helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from tables import to_markdown, write_csv
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hf_distill import Predictor, create_student, export_model
from hf_distill.export import int8
from hf_distill.export.batching import TokenIds, measure_batch_dependence, run_batches, sorted_batches

RESULTS = Path(__file__).parent / "results"
NUM_TRAINING, NUM_CALIBRATION = 2400, 100
Run = Callable[[Mapping[str, np.ndarray]], np.ndarray]


class Engine:
    """A variant, with what the measurements of the library need."""

    problem_type = "single_label_classification"

    def __init__(self, predictor: Predictor, run: Run) -> None:
        self.pad, self.run = predictor.pad, run


class CalibrationTexts(CalibrationDataReader):
    """The texts on which static quantization measures the range of each activation."""

    def __init__(self, predictor: Predictor, texts: list[str]) -> None:
        encodings = [predictor.encode(text) for text in texts]
        self.batches = iter([predictor.pad([e.ids], [e.type_ids]) for e in encodings])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next batch of one text."""
        return next(self.batches, None)


def export_students(sentences: list[tuple[str, str]]) -> dict[str, Path]:
    """Fine-tune and export the students, once."""
    encoder, folders = find_minilm(), {}
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    for num_layers in (2, 3):
        folder = folders[f"{num_layers} layers"] = WORK / "export_variants" / str(num_layers)
        if folder.exists():
            continue
        torch.manual_seed(0)
        names = {"id2label": dict(enumerate(NAMES)), "label2id": {name: i for i, name in enumerate(NAMES)}}
        encoder_model = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=2, **names)
        student = create_student(encoder_model, num_hidden_layers=num_layers)
        fine_tune(student, tokenize(sentences, tokenizer), tokenizer)
        for quantize in (None, "int8"):
            export_model(student, folder, quantize=quantize, processing_class=tokenizer, tolerance=0.1)
    return folders


def write_weight_only(source: Path, target: Path, bits: int | None) -> None:
    """Write int8 weights that become float32 when the model is loaded; with `bits` MatMulNBits, which keeps them."""
    model = onnx.load(source)
    if bits is not None:
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))

    def replace(graph: Any, node: onnx.NodeProto) -> Any:
        weight = graph.matrix(node.input[1]) if node.op_type == "MatMul" else None
        if weight is None:
            return
        name, (output,) = node.input[1], node.output
        if bits is None:
            values, scales = int8._quantize(weight, 0, 127)
            constants = [graph.add(f"{name}_int8", values), graph.add(f"{name}_scales", scales[0])]
            yield helper.make_node("DequantizeLinear", constants, [f"{output}_weight"], axis=1)
            yield helper.make_node("MatMul", [node.input[0], f"{output}_weight"], [output])
            return
        blocks, middle = weight.T.reshape(weight.shape[1], -1, 32), 2 ** (bits - 1)
        values, scales = int8._quantize(blocks, 2, middle - 1)
        packed = (values.astype(np.int16) + middle).astype(np.uint8)
        packed = packed if bits == 8 else packed[..., 0::2] | (packed[..., 1::2] << 4)
        constants = [graph.add(f"{name}_packed", packed), graph.add(f"{name}_scales", scales[..., 0])]
        settings = {"K": weight.shape[0], "N": weight.shape[1], "bits": bits, "block_size": 32, "accuracy_level": 4}
        inputs = [node.input[0], *constants]
        yield helper.make_node("MatMulNBits", inputs, [output], domain="com.microsoft", **settings)

    graph = int8._Graph(model)
    for step in (int8._split_gemm, int8._quantize_embedding, replace):
        graph.rewrite(step)
    graph.remove_unused()
    onnx.save(model, target)


def write_variants(folder: Path, predictor: Predictor, texts: list[str]) -> dict[str, Path]:
    """Write the other variants beside those of the library."""
    source, other = folder / "onnx" / "model.onnx", folder / "other"
    other.mkdir(exist_ok=True)
    names = ["dynamic over the batch", "static, calibrated", "weights, float32 when loaded"]
    files = {
        name: other / f"{i}.onnx" for i, name in enumerate([*names, "MatMulNBits, 8 bits", "MatMulNBits, 4 bits"])
    }
    settings = {"op_types_to_quantize": ["MatMul", "Gather"], "per_channel": True}
    dynamic, static, weights, eight, four = files.values()
    quantize_dynamic(source, dynamic, **settings)
    quantize_static(
        source,
        static,
        CalibrationTexts(predictor, texts),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        extra_options={"MatMulConstBOnly": True},
        **settings,
    )
    for target, bits in ((weights, None), (eight, 8), (four, 4)):
        write_weight_only(source, target, bits)
    return {
        "float32": source,
        "int8, one scale for each token (the default)": folder / "onnx" / "model_quantized.onnx",
        **{f"int8, {name}" if "4 bits" not in name else name: path for name, path in files.items()},
    }


def open_onnxruntime(path: Path, num_threads: int) -> Run:
    """Return a function that runs a graph with onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = num_threads, 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(["logits"], dict(inputs))[0]


def open_openvino(path: Path, num_threads: int) -> Run:
    """Return a function that runs a graph with OpenVINO."""
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": num_threads, "PERFORMANCE_HINT": "LATENCY"}
    model = core.compile_model(core.read_model(path), "CPU", settings)
    return lambda inputs: model(dict(inputs))[0]


def one_by_one(run: Run) -> Run:
    """Return a function that runs the rows of a batch one by one, without padding."""

    def run_rows(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        lengths = inputs["attention_mask"].sum(axis=1)
        rows = [{k: v[i : i + 1, :length] for k, v in inputs.items()} for i, length in enumerate(lengths)]
        return np.concatenate([run(row) for row in rows])

    return run_rows


def open_engines(files: Mapping[str, Path], num_threads: int) -> dict[str, tuple[Path, Run]]:
    """Return the file and the function of each row of the table."""
    engines = {name: (path, open_onnxruntime(path, num_threads)) for name, path in files.items()}
    dynamic = "int8, dynamic over the batch"
    engines["int8, dynamic, rows one by one"] = (files[dynamic], one_by_one(engines[dynamic][1]))
    try:
        for name in ("float32", "int8, static, calibrated", "int8, weights, float32 when loaded"):
            engines[f"OpenVINO: {name}"] = (files[name], open_openvino(files[name], num_threads))
    except ImportError:
        print("OpenVINO is not installed, and left out.")
    return engines


def time_engines(
    engines: Mapping[str, tuple[Path, Run]], calls: Mapping[str, Any], num_rounds: int
) -> dict[str, dict]:
    """Return the least CPU time of a call in milliseconds, for each engine and kind of call."""
    times: dict[str, dict[str, float]] = {name: dict.fromkeys(calls, float("inf")) for name in engines}
    for _ in range(num_rounds):
        for name, (_, run) in engines.items():
            for call, inputs in calls.items():
                start = time.process_time()
                run(inputs)
                times[name][call] = min(times[name][call], 1000 * (time.process_time() - start))
    return times


def measure(folder: Path, texts: list[str], calibration: list[str], num_threads: int, num_rounds: int) -> list[dict]:
    """Return a row of the table for each variant of a student."""
    predictor = Predictor(folder, "float32", max_length=64)
    engines = open_engines(write_variants(folder, predictor, calibration), num_threads)
    rows = [TokenIds(e.ids, e.type_ids) for e in map(predictor.encode, texts)]
    ids = [row.ids[:24] for row in rows if len(row.ids) >= 24][:32]
    calls = {f"batch {n}, ms": predictor.pad(ids[:n], [[0] * 24] * n) for n in (1, 32)}
    times = time_engines(engines, calls, num_rounds)
    batches = sorted_batches(rows)
    reference = np.stack(run_batches(engines["float32"][1], rows, batches, predictor))
    table = []
    for name, (path, run) in engines.items():
        logits = np.stack(run_batches(run, rows, batches, predictor))
        dependence = measure_batch_dependence(Engine(predictor, run), rows)
        agreement = np.mean(logits.argmax(axis=1) == reference.argmax(axis=1))
        table.append(
            {
                "variant": name,
                "MB": f"{path.stat().st_size / 1e6:.1f}",
                **{call: f"{milliseconds:.1f}" for call, milliseconds in times[name].items()},
                "agreement, %": f"{100 * agreement:.1f}",
                "max Δlogit": f"{np.abs(logits - reference).max():.3f}",
                "depend on the batch, %": f"{100 * dependence['batch_dependent_decisions'] / len(rows):.1f}",
                "Δlogit between batches": f"{dependence['batch_difference']:.1g}",
            }
        )
    return table


def main() -> None:
    """Print a table for each student, and save both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    _, sentences = read_sentences()
    training, rest = sentences[:NUM_TRAINING], [text for text, _ in sentences[NUM_TRAINING:]]
    calibration, texts = rest[:NUM_CALIBRATION], rest[NUM_CALIBRATION:][: 100 if args.quick else 300]
    lines, all_rows = [], []
    for student, folder in export_students(training).items():
        rows = measure(folder, texts, calibration, args.threads, 5 if args.quick else 15)
        lines.append(f"## {student}, {len(texts)} sentences\n\n{to_markdown(rows)}\n")
        all_rows += [{"student": student, **row} for row in rows]
        print(lines[-1], flush=True)
    (RESULTS / "export_variants.md").write_text("\n".join(lines), encoding="utf-8")
    write_csv(RESULTS / "export_variants.csv", all_rows)


if __name__ == "__main__":
    main()
