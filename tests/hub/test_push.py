"""`trainer.push_to_hub` against a local replacement of the Hub."""

import textwrap

import pytest
from hub_server import TOKEN, HubServer, Repo, run_against

TRAIN = """
import sys
from tiny import tiny_dataset, tiny_model, tiny_tokenizer
from hf_distill import DistillationTrainer, DistillationTrainingArguments

tokenizer = tiny_tokenizer()
rows = tiny_dataset(tokenizer)
args = DistillationTrainingArguments(
    "out", max_steps=2, use_cpu=True, report_to="none", push_to_hub=True, hub_model_id="tester/student",
    hub_strategy="end", eval_strategy="epoch",
)
trainer = DistillationTrainer(
    tiny_model(2, seed=2), tiny_model(4, seed=1), args, train_dataset=rows, eval_dataset=rows,
    processing_class=tokenizer,
)
trainer.train()
"""
LOAD = """
from transformers import pipeline
print(pipeline("text-classification", model="tester/student")(["a great film"])[0]["label"])
"""


@pytest.fixture
def server():
    with HubServer() as server:
        yield server


def test_a_pushed_student_has_its_card_and_record_and_works_in_a_pipeline(server, tmp_path):
    pushed = run_against(server, TRAIN + "trainer.push_to_hub()", tmp_path)
    assert pushed.returncode == 0, pushed.stderr
    files = server.repos["tester/student"].files
    assert {"README.md", "distillation.json", "model.safetensors", "config.json", "tokenizer.json"} <= files.keys()
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl"))]
    card = files["README.md"].decode()
    assert 'pipeline("text-classification", model="tester/student")' in card
    assert not any(TOKEN.encode() in content for content in files.values())
    loaded = run_against(server, LOAD, tmp_path)
    assert loaded.stdout.strip() in ("negative", "neutral", "positive"), loaded.stderr


def test_pushing_at_every_save_publishes_neither_pickles_nor_checkpoints(server, tmp_path):
    script = TRAIN.replace('hub_strategy="end"', 'save_strategy="steps", save_steps=1')
    script += "trainer.train_baseline(tiny_model(2, seed=2)); trainer.push_to_hub()"
    pushed = run_against(server, script, tmp_path)
    assert pushed.returncode == 0, pushed.stderr
    assert (tmp_path / "out" / "baseline" / "checkpoint-1" / "optimizer.pt").exists()
    repo = server.repos["tester/student"]
    assert "Training in progress, step 1" in repo.commits
    assert not [name for name in repo.files if "checkpoint" in name or name.endswith((".bin", ".pt", ".pth"))]


def test_a_failing_push_keeps_the_student_and_says_how_to_retry(server, tmp_path):
    server.fail_with["commit"] = 403
    script = TRAIN + textwrap.dedent("""
        try:
            trainer.push_to_hub()
        except ConnectionError as error:
            print("MESSAGE", error)
    """)
    done = run_against(server, script, tmp_path)
    assert "Nothing is lost: the student is in out" in done.stdout, done.stderr
    assert "hf-distill push --folder out --hub_model_id tester/student" in done.stdout
    assert TOKEN not in done.stdout + done.stderr
    assert (tmp_path / "out" / "model.safetensors").stat().st_size > 0
    assert (tmp_path / "out" / "README.md").exists()
    assert "model.safetensors" not in server.repos["tester/student"].files

    server.fail_with.clear()
    retry = "from hf_distill.cli import main; main('push --folder out --hub_model_id tester/student'.split())"
    assert run_against(server, retry, tmp_path).returncode == 0
    assert "model.safetensors" in server.repos["tester/student"].files


def test_a_hub_that_is_down_is_an_error_before_training(server, tmp_path):
    server.fail_with["create"] = 403
    done = run_against(server, TRAIN, tmp_path)
    assert done.returncode != 0
    assert "train_runtime" not in done.stdout


def test_a_run_over_an_older_repository_keeps_the_edits_of_its_card_and_no_old_weights(server, tmp_path):
    server.repos["tester/student"] = Repo(
        {
            "README.md": b"# By hand\n",
            "model-00001-of-00001.safetensors": b"old",
            "model.safetensors.index.json": b"{}",
            "onnx/model.onnx": b"old",
        }
    )
    script = TRAIN.replace('hub_strategy="end"', 'save_strategy="steps", save_steps=1')
    pushed = run_against(server, script + "trainer.push_to_hub()", tmp_path)
    assert pushed.returncode == 0, pushed.stderr
    files = server.repos["tester/student"].files
    assert files["README.md"] == b"# By hand\n"
    assert b"## Limits" in files["MODEL_CARD.md"]
    assert not files.keys() & {"model-00001-of-00001.safetensors", "model.safetensors.index.json", "onnx/model.onnx"}
    assert "The push removed files of an earlier student from tester/student: model-00001-of-00001" in pushed.stderr
    assert "The model card is in MODEL_CARD.md." in pushed.stderr
