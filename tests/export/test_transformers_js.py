"""Transformers.js finds the variants of an export and gives the answers of `Predictor`.

npm install --ignore-scripts @huggingface/transformers
NODE_PATH=node_modules pytest tests/export/test_transformers_js.py
"""

import json
import shutil
import subprocess

import pytest
from tiny import tiny_rows

from hf_distill import Predictor, export_model

TEXTS = [row["text"] for row in tiny_rows(6, seed=5)]

# Arguments: folder of models, name of the model, JSON list of texts.
PROGRAM = """
const { pipeline, env } = require('@huggingface/transformers');
const [folder, name, texts] = process.argv.slice(1);
env.allowRemoteModels = false;
env.localModelPath = folder;
(async () => {
  const results = {};
  for (const dtype of ['fp32', 'q8']) {
    const classify = await pipeline('text-classification', name, { dtype });
    results[dtype] = await classify(JSON.parse(texts), { top_k: null });
  }
  console.log(JSON.stringify(results));
})();
"""


def find_node():
    """Return the path of Node, or skip the test if Node or Transformers.js is not installed."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    result = subprocess.run([node, "-e", "require.resolve('@huggingface/transformers')"], capture_output=True)
    if result.returncode:
        pytest.skip("Transformers.js is not installed: npm install @huggingface/transformers, and set NODE_PATH")
    return node


def test_transformers_js_gives_the_answers_of_the_predictor(folder, model, tokenizer, tmp_path):
    node = find_node()
    shutil.copytree(folder, tmp_path / "student")
    export_model(model, tmp_path / "student", quantize="int8", processing_class=tokenizer, tolerance=1.0)
    command = [node, "-e", PROGRAM, str(tmp_path), "student", json.dumps(TEXTS)]
    results = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    for dtype, variant in (("fp32", "float32"), ("q8", "int8")):
        for text, ranked in zip(TEXTS, results[dtype], strict=True):
            expected = Predictor(tmp_path / "student", variant)(text, top_k=None)
            assert [row["label"] for row in ranked] == [row["label"] for row in expected]
            assert [row["score"] for row in ranked] == pytest.approx([row["score"] for row in expected], abs=1e-3)
    assert results["fp32"][0][0]["score"] != pytest.approx(results["q8"][0][0]["score"], abs=1e-4)
