import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from invariance import make_trainer
from tiny import LABEL_NAMES, TINY, tiny_model, tiny_tokenizer
from transformers import AutoModelForSequenceClassification, BertConfig, BertForTokenClassification

from hf_distill.objectives import LOGIT_OBJECTIVES
from hf_distill.students import StaticConfig, StaticForSequenceClassification, create_static_student, trim_vocabulary

HIDDEN_SIZE = TINY["hidden_size"]


@pytest.fixture(scope="module")
def teacher():
    return tiny_model(num_hidden_layers=2, seed=1)


@pytest.fixture(scope="module")
def student(teacher):
    return create_static_student(teacher, tiny_tokenizer(), dim=8, head_size=12)


def encoded(model, texts):
    batch = tiny_tokenizer()(texts, padding=True, return_tensors="pt")
    batch.pop("token_type_ids", None)
    return model(**batch)


def test_the_logits_are_those_worked_out_by_hand():
    model = StaticForSequenceClassification(
        StaticConfig(vocab_size=4, hidden_size=2, head_size=2, num_labels=2)
    ).eval()
    weights = {
        "static.embeddings.weight": torch.tensor([[9.0, 9.0], [1.0, 3.0], [3.0, 9.0], [0.0, 0.0]]),
        "static.norm.weight": torch.tensor([2.0, 2.0]), "static.norm.bias": torch.tensor([1.0, 0.0]),
        "dense.weight": torch.eye(2), "dense.bias": torch.zeros(2),
        "classifier.weight": torch.tensor([[1.0, 1.0], [-1.0, 0.0]]), "classifier.bias": torch.tensor([0.5, 0.0]),
    }  # fmt: skip
    model.load_state_dict(weights)
    # The mean of tokens 1 and 2 is (2, 6); its layer norm is (-1, 1), scaled and shifted (-1, 2), after ReLU (0, 2).
    logits = model(torch.tensor([[1, 2, 0]]), torch.tensor([[1, 1, 0]])).logits
    assert logits.tolist()[0] == pytest.approx([2.5, 0.0], abs=1e-4)


def test_padding_and_other_texts_in_the_batch_change_nothing(student):
    texts = ["a great film", "a", "the plot is a mess and the actors are bad"]
    together = encoded(student, texts).logits
    for i, text in enumerate(texts):
        torch.testing.assert_close(together[i], encoded(student, [text]).logits[0])


def test_the_vector_of_a_piece_is_the_mean_state_of_the_teacher_that_reads_it_alone(teacher):
    tokenizer = tiny_tokenizer()
    student = create_static_student(teacher, tokenizer, dim=HIDDEN_SIZE, smoothing=1e12)  # weights of nearly 1
    vectors = student.static.embeddings.weight
    words = ["film", "bad", "great", "plot"]
    ids = torch.tensor(tokenizer.convert_tokens_to_ids(words))
    with torch.no_grad():
        states = [teacher.bert(torch.tensor([[2, i, 3]])).last_hidden_state[0].mean(0) for i in ids.tolist()]
    # All components are kept, so that the distances between the vectors stay as they were.
    torch.testing.assert_close(
        torch.cdist(vectors[ids], vectors[ids]),
        torch.cdist(torch.stack(states), torch.stack(states)),
        atol=1e-4,
        rtol=1e-3,
    )


def test_the_kept_components_are_the_ones_with_the_most_variance(teacher):
    tokenizer = tiny_tokenizer()
    student = create_static_student(teacher, tokenizer, dim=3, vectors="embeddings", smoothing=1e12)
    embeddings = teacher.get_input_embeddings().weight.detach().double().numpy()
    expected = np.linalg.svd(embeddings - embeddings.mean(0), full_matrices=False)[1][:3]
    plain = [i for i in range(len(tokenizer)) if i not in tokenizer.all_special_ids]
    vectors = student.static.embeddings.weight.detach().double().numpy()
    centered = embeddings - embeddings.mean(0)
    directions = np.linalg.lstsq(centered[plain], vectors[plain], rcond=None)[0]
    np.testing.assert_allclose(np.linalg.norm(centered @ directions, axis=0), expected, rtol=1e-4)


def test_frequent_pieces_count_less_and_special_tokens_nothing(teacher):
    tokenizer = tiny_tokenizer()
    even, weighted = (
        create_static_student(teacher, tokenizer, dim=4, smoothing=smoothing).static.embeddings.weight
        for smoothing in (1e12, 1e-2)
    )
    shares = 1 / (torch.arange(len(even)) + 2)
    expected = 1e-2 / (1e-2 + shares / shares.sum())
    plain = [i for i in range(len(tokenizer)) if i not in tokenizer.all_special_ids]
    torch.testing.assert_close(weighted.norm(dim=1)[plain] / even.norm(dim=1)[plain], expected[plain])
    assert not weighted[tokenizer.all_special_ids].any()


def test_the_student_keeps_label_names_problem_type_and_origin(teacher, student):
    assert student.config.id2label == teacher.config.id2label == dict(enumerate(LABEL_NAMES))
    assert student.config.problem_type == teacher.config.problem_type
    assert not student.training


def objectives(name):
    return {"objectives": {name: 1.0}, "temperature": None, "soft_label_weight": None, "hard_label_weight": None}


@pytest.mark.parametrize("name", LOGIT_OBJECTIVES)
def test_the_student_learns_by_every_objective_on_logits(name, teacher, student, dataset, tmp_path):
    changes = {"max_steps": 2, "logging_steps": 2, **objectives(name)}
    trainer = make_trainer(student, teacher, dataset, tiny_tokenizer(), tmp_path, **changes)
    before = {key: value.clone() for key, value in trainer.model.state_dict().items()}
    trainer.train()
    assert all(not torch.equal(value, before[key]) for key, value in trainer.model.state_dict().items())


@pytest.mark.parametrize("name", ["hidden_mse", "pkd"])
def test_objectives_inside_the_network_are_refused(name, teacher, student, dataset, tmp_path):
    with pytest.raises(ValueError, match="has no layers"):
        make_trainer(student, teacher, dataset, tiny_tokenizer(), tmp_path, **objectives(name))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dim": 0}, f"from 1 to {HIDDEN_SIZE}, the size of the teacher's vectors, got 0"),
        ({"dim": HIDDEN_SIZE + 1}, f"got {HIDDEN_SIZE + 1}"),
        ({"vectors": "glove"}, "'encoder' or 'embeddings', got 'glove'"),
        ({"smoothing": 0.0}, "must be > 0, got 0.0"),
    ],
)
def test_impossible_values_are_refused(teacher, changes, message):
    with pytest.raises(ValueError, match=message):
        create_static_student(teacher, tiny_tokenizer(), **{"dim": 4, **changes})


def test_a_teacher_of_words_is_refused_with_the_reason():
    teacher = BertForTokenClassification(BertConfig(**TINY, num_hidden_layers=1))
    with pytest.raises(ValueError, match="classifies whole texts.*BertForTokenClassification"):
        create_static_student(teacher, tiny_tokenizer(), dim=4)


@pytest.mark.slow
def test_the_auto_classes_load_the_student_in_a_new_process_after_one_import(student, tmp_path):
    student.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    code = (
        "import json, sys, hf_distill.students\n"
        "from transformers import pipeline\n"
        "print(json.dumps(pipeline('text-classification', model=sys.argv[1], top_k=None)(['a great film'])[0]))"
    )
    run = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    scores = {answer["label"]: answer["score"] for answer in json.loads(run.stdout.splitlines()[-1])}
    expected = encoded(student, ["a great film"]).logits.softmax(-1)[0].tolist()
    assert scores == pytest.approx(dict(zip(LABEL_NAMES, expected, strict=True)), abs=1e-5)


def test_the_saved_student_is_the_student(student, tmp_path):
    student.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(loaded) is StaticForSequenceClassification
    weights = loaded.state_dict()
    assert all(torch.equal(weight, weights.pop(name)) for name, weight in student.state_dict().items())
    assert not weights
    # Loaded weights lie elsewhere in memory, which can change the order of a sum.
    torch.testing.assert_close(encoded(loaded, ["a bad film"]).logits, encoded(student, ["a bad film"]).logits)


def test_the_vocabulary_of_a_static_student_can_be_trimmed(student):
    texts = ["a great film", "bad"]
    trimmed, tokenizer, report = trim_vocabulary(student, tiny_tokenizer(), texts)
    assert len(trimmed.static.embeddings.weight) == report["pieces"]["after"] < len(student.static.embeddings.weight)
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    torch.testing.assert_close(trimmed(**batch).logits, encoded(student, texts).logits)
