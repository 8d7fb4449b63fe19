"""Models of a revision on the Hub: the branch that was named is loaded, and not the main branch."""

import json

import torch
from docs_folder import save
from hub_server import HubServer, Repo, run_against
from tiny import LABEL_NAMES, TINY, tiny_model, tiny_rows
from transformers import BertConfig, BertForMaskedLM

SCRIPT = (
    "from hf_distill.cli import main\n"
    "main('train --teacher_model_name_or_path tester/teacher --teacher_revision v1"
    " --student_model_name_or_path tester/student --student_revision v1"
    " --augment 1 --augment_masked_lm tester/masked --augment_masked_lm_revision v1"
    " --train_file rows.csv --validation_file other.csv --allow_weak_teacher"
    " --max_steps 1 --use_cpu --output_dir out'.split())\n"
)


def masked_model(num_hidden_layers, seed):
    torch.manual_seed(seed)
    return BertForMaskedLM(BertConfig(**TINY, num_hidden_layers=num_hidden_layers))


def test_teacher_student_and_masked_language_model_are_those_of_the_revision(tmp_path, tokenizer):
    for seed, name in enumerate(("rows.csv", "other.csv")):
        rows = [f"{row['text']},{LABEL_NAMES[row['label']]}" for row in tiny_rows(24, seed)]
        (tmp_path / name).write_text("\n".join(["text,label", *rows]) + "\n")
    makers = {"teacher": tiny_model, "student": tiny_model, "masked": masked_model}
    with HubServer() as server:
        for name, make in makers.items():
            branches = {}
            for branch, num_hidden_layers, sha in (("main", 3, "a" * 40), ("v1", 2, "b" * 40)):
                folder = tmp_path / name / branch
                save(make(num_hidden_layers, seed=num_hidden_layers), folder, tokenizer)
                branches[branch] = Repo({path.name: path.read_bytes() for path in folder.iterdir()}, sha=sha)
            server.repos[f"tester/{name}"] = branches.pop("main")
            server.repos[f"tester/{name}"].branches = branches
        done = run_against(server, SCRIPT, tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "distillation.json").read_text())
    masked = record["dataset"]["transfer"]["augmentation"]["masked_lm"]
    models = {"teacher": record["teacher"], "student": record["student"], "masked": masked}
    found = {name: (model["num_hidden_layers"], model["revision"]) for name, model in models.items()}
    assert found == dict.fromkeys(makers, (2, "b" * 40))
    assert "b" * 40 not in (tmp_path / "out" / "config.json").read_text()
    assert "b" * 40 in (tmp_path / "out" / "README.md").read_text()
