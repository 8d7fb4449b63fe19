import copy

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from invariance import make_trainer
from tiny import LABEL_NAMES, TINY, sharpen, tiny_model
from torch import nn
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BartConfig,
    BertConfig,
    BertForMaskedLM,
    BertForTokenClassification,
    BertModel,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    GPTNeoConfig,
    ModernBertConfig,
    MPNetConfig,
    Qwen2Config,
    RobertaConfig,
    SmolLM3Config,
    XLMRobertaConfig,
)

from hf_distill.cli import main
from hf_distill.students import create, create_student, select_layers

NUM_LAYERS = 5
LAYERS = [0, 2, 3]
LABELS = {"id2label": dict(enumerate(LABEL_NAMES)), "label2id": {name: i for i, name in enumerate(LABEL_NAMES)}}
SHARED = {**TINY, **LABELS, "num_hidden_layers": NUM_LAYERS, "pad_token_id": 0}
DECODER = {**SHARED, "num_key_value_heads": 1, "bos_token_id": 1, "eos_token_id": 2}

# Name of a model family -> a config, and the name of the list of layers in its models.
FAMILIES = {
    "bert": (BertConfig(**SHARED), "bert.encoder.layer"),
    "roberta": (RobertaConfig(**SHARED), "roberta.encoder.layer"),
    "xlm-roberta": (XLMRobertaConfig(**SHARED), "roberta.encoder.layer"),
    "electra": (ElectraConfig(**SHARED, embedding_size=8), "electra.encoder.layer"),
    "distilbert": (DistilBertConfig(**SHARED, hidden_dim=32), "distilbert.transformer.layer"),
    "mpnet": (MPNetConfig(**SHARED), "mpnet.encoder.layer"),
    "deberta-v2": (
        DebertaV2Config(
            **SHARED,
            relative_attention=True,
            position_buckets=8,
            pos_att_type=["p2c", "c2p"],
            share_att_key=True,
            norm_rel_ebd="layer_norm",
            conv_kernel_size=3,
            position_biased_input=False,
            pooler_hidden_size=16,
        ),
        "deberta.encoder.layer",
    ),
    "modernbert": (
        ModernBertConfig(**SHARED, local_attention=4, bos_token_id=2, eos_token_id=3, cls_token_id=2, sep_token_id=3),
        "model.layers",
    ),
    "qwen2": (Qwen2Config(**DECODER, use_sliding_window=True, sliding_window=4, max_window_layers=3), "model.layers"),
    "smollm3": (SmolLM3Config(**DECODER, no_rope_layer_interval=2), "model.layers"),
}


@pytest.fixture(params=FAMILIES)
def family(request):
    """A random teacher of each family, sensitive to its inputs, and the name of its list of layers."""
    config, stack = FAMILIES[request.param]
    teacher = AutoModelForSequenceClassification.from_config(copy.deepcopy(config))
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return teacher.eval(), stack


@pytest.fixture
def bert():
    return tiny_model(num_hidden_layers=6)


@pytest.fixture
def batch():
    """Two single texts of 12 and 7 tokens."""
    input_ids = torch.randint(5, TINY["vocab_size"], (2, 12))
    attention_mask = torch.ones_like(input_ids)
    input_ids[1, 7:] = attention_mask[1, 7:] = 0
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def logits(model, batch):
    with torch.no_grad():
        return model(**batch).logits


def reloaded(model, folder, auto_class=AutoModelForSequenceClassification):
    model.save_pretrained(folder)
    return auto_class.from_pretrained(folder).eval()


def storages(model):
    return {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}


def test_the_student_with_all_layers_has_the_logits_of_the_teacher(family, batch, tmp_path):
    teacher, _ = family
    student = create_student(teacher, NUM_LAYERS)
    assert type(student) is type(teacher)
    assert torch.equal(logits(student, batch), logits(teacher, batch))
    assert torch.equal(logits(reloaded(student, tmp_path), batch), logits(teacher, batch))


def test_the_student_has_the_chosen_layers_and_all_other_weights_of_the_teacher(family, batch, tmp_path):
    teacher, stack = family
    student = create_student(teacher, layers=LAYERS)
    assert student.config.num_hidden_layers == len(student.get_submodule(stack)) == 3
    for new, old in enumerate(LAYERS):
        layer, original = (m.get_submodule(stack)[i].state_dict() for m, i in ((student, new), (teacher, old)))
        assert layer.keys() == original.keys()
        assert all(torch.equal(layer[name], original[name]) for name in layer)
    outside = {name for name in teacher.state_dict() if not name.startswith(stack)}
    assert outside == {name for name in student.state_dict() if not name.startswith(stack)}
    assert all(torch.equal(student.state_dict()[name], teacher.state_dict()[name]) for name in outside)
    assert not torch.equal(logits(student, batch), logits(teacher, batch))
    assert torch.equal(logits(reloaded(student, tmp_path), batch), logits(student, batch))


def test_the_student_computes_what_the_teacher_computes_without_the_other_layers(family, batch):
    teacher, stack = family
    student = create_student(teacher, layers=LAYERS)
    parent, name = stack.rsplit(".", 1)
    shortened = copy.deepcopy(teacher)
    kept = nn.ModuleList(layer for i, layer in enumerate(shortened.get_submodule(stack)) if i in LAYERS)
    setattr(shortened.get_submodule(parent), name, kept)
    shortened.config.num_hidden_layers = len(LAYERS)
    shortened.config.use_cache = False  # decoders index their cache by the old layer index
    if "layer_types" in vars(shortened.config):
        shortened.config.layer_types = [shortened.config.layer_types[i] for i in LAYERS]
    assert torch.equal(logits(student, batch), logits(shortened, batch))


def test_training_the_student_does_not_change_the_teacher(family, batch):
    teacher, _ = family
    teacher.requires_grad_(False)
    config, weights, before = teacher.config.to_dict(), copy.deepcopy(teacher.state_dict()), logits(teacher, batch)
    student = create_student(teacher, layers=LAYERS)
    assert storages(student).isdisjoint(storages(teacher))
    assert all(parameter.requires_grad for parameter in student.parameters())
    student(**batch, labels=torch.tensor([0, 1])).loss.backward()
    torch.optim.SGD(student.parameters(), lr=1.0).step()
    student.config.id2label[0] = "changed"
    assert teacher.config.to_dict() == config
    assert all(torch.equal(weight, weights[name]) for name, weight in teacher.state_dict().items())
    assert torch.equal(logits(teacher, batch), before)


def test_the_student_keeps_label_names_problem_type_and_origin(bert):
    bert.config.problem_type = "multi_label_classification"
    bert.config.name_or_path = "someone/teacher"
    for architecture in ("bert", "distilbert"):
        student = create_student(bert, 2, architecture=architecture)
        assert student.config.id2label == dict(enumerate(LABEL_NAMES))
        assert student.config.label2id == {name: i for i, name in enumerate(LABEL_NAMES)}
        assert student.config.problem_type == "multi_label_classification"
        assert student.config.name_or_path == student.name_or_path == "someone/teacher"


def test_the_student_has_float32_weights_and_the_attention_of_the_teacher_and_is_in_eval_mode(bert):
    bert.to(torch.bfloat16).train().set_attn_implementation("eager")
    for architecture in ("bert", "distilbert"):
        student = create_student(bert, 2, architecture=architecture)
        assert {parameter.dtype for parameter in student.parameters()} == {torch.float32}
        assert student.config._attn_implementation == "eager"
        assert not student.training
    assert bert.training


def test_rotary_frequencies_of_a_bfloat16_student_stay_in_float32():
    config = copy.deepcopy(FAMILIES["modernbert"][0])
    teacher = AutoModelForSequenceClassification.from_config(config, dtype=torch.bfloat16)
    frequencies = {name: b for name, b in create_student(teacher, 3).named_buffers() if "inv_freq" in name}
    assert frequencies
    assert all(frequency.dtype == torch.float32 for frequency in frequencies.values())


def test_modernbert_keeps_the_attention_types_of_the_chosen_layers():
    teacher = AutoModelForSequenceClassification.from_config(copy.deepcopy(FAMILIES["modernbert"][0]))
    # Every third layer has global attention: of these layers, 0 and 3.
    layer_types = create_student(teacher, layers=[0, 2, 3]).config.layer_types
    assert layer_types == ["full_attention", "sliding_attention", "full_attention"]


def test_layer_0_of_modernbert_cannot_be_dropped():
    teacher = AutoModelForSequenceClassification.from_config(copy.deepcopy(FAMILIES["modernbert"][0]))
    with pytest.raises(ValueError, match=r"attn_norm.*layer 2 cannot take its place. Keep layer 0"):
        create_student(teacher, layers=[2, 3])


def test_a_teacher_given_as_a_path_is_loaded_in_float32(bert, batch, tmp_path):
    bert.to(torch.bfloat16).save_pretrained(tmp_path)
    for path in (tmp_path, str(tmp_path)):
        student = create_student(path, 6)
        assert student.dtype == torch.float32
        assert torch.equal(logits(student, batch), logits(bert.float(), batch))
        assert student.config.name_or_path == str(tmp_path)


def test_token_classifiers_and_masked_language_models_can_be_teachers(batch, tmp_path):
    config = FAMILIES["bert"][0]
    for model_class, auto_class in (
        (BertForTokenClassification, AutoModelForTokenClassification),
        (BertForMaskedLM, AutoModelForMaskedLM),
    ):
        teacher = model_class(copy.deepcopy(config)).eval()
        assert torch.equal(logits(create_student(teacher, NUM_LAYERS), batch), logits(teacher, batch))
        student = create_student(teacher, 2, architecture="distilbert")
        assert torch.equal(logits(reloaded(student, tmp_path, auto_class), batch), logits(student, batch))
        # Without a pooler, the heads of BERT and DistilBERT compute the same function.
        student = create_student(teacher, architecture="distilbert")
        torch.testing.assert_close(logits(student, batch), logits(teacher, batch), atol=1e-5, rtol=0)


def test_the_tied_embeddings_of_a_masked_language_model_stay_tied():
    teacher = BertForMaskedLM(copy.deepcopy(FAMILIES["bert"][0]))
    for architecture in ("bert", "distilbert"):
        student = create_student(teacher, 2, architecture=architecture)
        assert student.get_output_embeddings().weight is student.get_input_embeddings().weight


@pytest.mark.parametrize(
    ("num_teacher_layers", "num_student_layers", "layers"),
    [
        (12, 6, [0, 2, 4, 7, 9, 11]),
        (12, 3, [0, 6, 11]),
        (6, 3, [0, 2, 5]),
        (6, 2, [0, 5]),
        (6, 1, [0]),
        (3, 3, [0, 1, 2]),
        (1, 1, [0]),
    ],
)
def test_the_default_layers_are_evenly_spaced(num_teacher_layers, num_student_layers, layers):
    assert select_layers(num_teacher_layers, num_student_layers) == layers


def test_the_default_layers_never_repeat():
    for num_teacher_layers in range(1, 49):
        for num_student_layers in range(1, num_teacher_layers + 1):
            layers = select_layers(num_teacher_layers, num_student_layers)
            assert len(layers) == num_student_layers
            assert layers == sorted(set(layers))
            assert layers[0] == 0
            assert layers[-1] == (num_teacher_layers - 1 if num_student_layers > 1 else 0)


def test_a_number_of_layers_selects_the_default_layers(bert):
    student = create_student(bert, num_hidden_layers=3)
    for new, old in enumerate([0, 2, 5]):
        weights = [m.bert.encoder.layer[i].output.dense.weight for m, i in ((student, new), (bert, old))]
        assert torch.equal(*weights)


@pytest.mark.parametrize("wanted", [0, -1, 7])
def test_a_depth_that_the_teacher_does_not_have_is_refused(bert, wanted):
    with pytest.raises(ValueError, match=rf"from 1 to 6, the number of layers that can be copied, got {wanted}\."):
        create_student(bert, wanted)


@pytest.mark.parametrize("layers", [[], [0, 6], [-1, 2], [0, 2, 2], [2, 0]])
def test_invalid_layers_are_refused(bert, layers):
    with pytest.raises(ValueError, match=r"increasing, without repeats, each from 0 to 5 .* got \[") as error:
        create_student(bert, layers=layers)
    assert str(layers) in str(error.value)


def test_a_depth_and_layers_together_are_refused(bert):
    with pytest.raises(ValueError, match=r"not both: got 2 and \[0, 5\]"):
        create_student(bert, 2, layers=[0, 5])


def test_neither_a_depth_nor_layers_is_refused_without_an_architecture(bert):
    with pytest.raises(ValueError, match="Pass `num_hidden_layers` .* or `layers`"):
        create_student(bert)
    assert create_student(bert, architecture="bert").config.num_hidden_layers == 6


def test_an_impossible_depth_is_refused_before_the_weights_are_loaded(bert, tmp_path):
    bert.config.save_pretrained(tmp_path)  # the folder has no weights
    with pytest.raises(ValueError, match="got 7"):
        create_student(tmp_path, 7)


@pytest.mark.parametrize("architecture", ["tinybert", "roberta"])
def test_an_unknown_architecture_is_refused_and_the_error_lists_the_possible_ones(bert, architecture):
    with pytest.raises(ValueError, match=rf"'{architecture}'.* from a 'bert' model; possible: bert, distilbert"):
        create_student(bert, 2, architecture=architecture)


def test_only_bert_becomes_distilbert():
    teacher = AutoModelForSequenceClassification.from_config(copy.deepcopy(FAMILIES["roberta"][0]))
    with pytest.raises(ValueError, match=r"from a 'roberta' model; possible: roberta \('distilbert' needs a 'bert'"):
        create_student(teacher, 2, architecture="distilbert")


def test_a_conversion_that_is_added_to_the_table_is_used_and_named_in_errors(bert, monkeypatch):
    conversion = {("roberta", "bert"): lambda teacher, layers: ("a bert", layers)}
    monkeypatch.setattr(create, "CONVERSIONS", {**create.CONVERSIONS, **conversion})
    teacher = AutoModelForSequenceClassification.from_config(copy.deepcopy(FAMILIES["roberta"][0]))
    assert create_student(teacher, 2, architecture="bert") == ("a bert", [0, 4])
    message = r"possible: roberta, bert \('distilbert' needs a 'bert' model; 'bert' needs a 'roberta' model\)"
    with pytest.raises(ValueError, match=message):
        create_student(teacher, 2, architecture="distilbert")
    with pytest.raises(ValueError, match="possible: bert, distilbert "):
        create_student(bert, 2, architecture="roberta")


def test_the_help_names_every_conversion(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    help_text = " ".join(capsys.readouterr().out.split())
    for source, target in create.CONVERSIONS:
        assert f"{target} (from a {source} model)" in help_text


def test_a_bert_without_a_distilbert_counterpart_is_refused():
    with pytest.raises(ValueError, match="no counterpart of BertModel.*takes BertForSequenceClassification"):
        create_student(BertModel(copy.deepcopy(FAMILIES["bert"][0])), 2, architecture="distilbert")


def test_albert_is_refused_because_its_layers_share_their_weights():
    teacher = AlbertForSequenceClassification(AlbertConfig(**TINY, embedding_size=8, num_hidden_layers=2))
    with pytest.raises(ValueError, match="ALBERT share one set of weights"):
        create_student(teacher, 1)


def test_a_teacher_whose_layers_cannot_be_found_is_refused():
    # The encoder and the decoder have the same number of layers.
    config = BartConfig(vocab_size=25, d_model=16, encoder_layers=2, decoder_layers=2, pad_token_id=0, eos_token_id=2)
    teacher = AutoModelForSequenceClassification.from_config(config)
    with pytest.raises(ValueError, match="expected one nn.ModuleList of 2 modules .* found 2 in"):
        create_student(teacher, 1)


def test_an_unknown_per_layer_list_is_refused_before_training():
    config = GPTNeoConfig(
        vocab_size=25, hidden_size=16, num_layers=4, attention_types=[[["global", "local"], 2]], num_heads=2
    )
    teacher = AutoModelForSequenceClassification.from_config(config)
    with pytest.raises(StrictDataclassClassValidationError, match="attention_layers"):
        create_student(teacher, 2)


def test_a_wrapped_teacher_is_refused_by_the_name_of_its_type(bert):
    with pytest.raises(TypeError, match="PreTrainedModel, a path or a Hub id, got DataParallel.*Unwrap a compiled"):
        create_student(nn.DataParallel(bert), 2)


def test_a_quantized_teacher_is_refused(bert):
    bert.config.quantization_config = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    with pytest.raises(ValueError, match="quantized.*Load it without"):
        create_student(bert, 2)


def hidden_state(model, batch):
    with torch.no_grad():
        return model.base_model(**batch).last_hidden_state[batch["attention_mask"].bool()]


def test_distilbert_has_the_hidden_states_of_bert_on_single_texts(batch, tmp_path):
    teacher = tiny_model(num_hidden_layers=4, hidden_act="relu", classifier_dropout=0.3)
    # Make the segment embeddings large enough to matter.
    nn.init.normal_(teacher.bert.embeddings.token_type_embeddings.weight)
    student = create_student(teacher, architecture="distilbert")
    assert type(student).__name__ == "DistilBertForSequenceClassification"
    torch.testing.assert_close(hidden_state(student, batch), hidden_state(teacher, batch), atol=1e-5, rtol=0)
    assert torch.equal(logits(reloaded(student, tmp_path), batch), logits(student, batch))
    assert storages(student).isdisjoint(storages(teacher))


def test_distilbert_of_some_layers_has_the_hidden_states_of_bert_with_those_layers(bert, batch):
    shortened = create_student(bert, layers=LAYERS)
    student = create_student(bert, layers=LAYERS, architecture="distilbert")
    torch.testing.assert_close(hidden_state(student, batch), hidden_state(shortened, batch), atol=1e-5, rtol=0)


def test_distilbert_takes_head_and_dropouts_of_bert(bert):
    bert.config.update({"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3, "classifier_dropout": 0.4})
    student = create_student(bert, 2, architecture="distilbert")
    assert torch.equal(student.pre_classifier.weight, bert.bert.pooler.dense.weight)
    assert torch.equal(student.classifier.weight, bert.classifier.weight)
    assert torch.equal(student.classifier.bias, bert.classifier.bias)
    config = student.config
    assert (config.dropout, config.attention_dropout, config.seq_classif_dropout) == (0.2, 0.3, 0.4)
    bert.config.classifier_dropout = None
    assert create_student(bert, 2, architecture="distilbert").config.seq_classif_dropout == 0.2


def test_a_layer_norm_eps_that_distilbert_does_not_have_gives_a_warning():
    with pytest.warns(UserWarning, match="layer_norm_eps is 1e-05, but DistilBERT's is always 1e-12"):
        create_student(tiny_model(layer_norm_eps=1e-5), architecture="distilbert")


def test_a_distilbert_teacher_gives_a_distilbert_student(batch):
    teacher = AutoModelForSequenceClassification.from_config(copy.deepcopy(FAMILIES["distilbert"][0])).eval()
    sharpen(teacher)
    student = create_student(teacher, architecture="distilbert")
    assert torch.equal(logits(student, batch), logits(teacher, batch))


def test_training_changes_all_weights_but_frozen_word_embeddings(teacher, dataset, tokenizer, tmp_path):
    student = create_student(teacher, num_hidden_layers=2, freeze_embeddings=True)
    trainer = make_trainer(student, teacher, dataset, tokenizer, tmp_path, optim="adamw_torch", weight_decay=0.1)
    trainer.train()
    words, positions = (f"bert.embeddings.{name}_embeddings.weight" for name in ("word", "position"))
    before, after = teacher.state_dict(), trainer.model.state_dict()
    assert torch.equal(after[words], before[words])
    assert not torch.equal(after[positions], before[positions])
