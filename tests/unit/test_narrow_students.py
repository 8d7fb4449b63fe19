import copy

import pytest
import torch
from test_students import FAMILIES, logits, reloaded
from tiny import TINY, tiny_model
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification

from hf_distill.students import create_student, keep_neurons, select_layers
from hf_distill.students.feed_forward import FEED_FORWARDS

NUM_NEURONS = TINY["intermediate_size"]


@pytest.fixture(params=FAMILIES)
def teacher(request):
    """A random teacher of each family, sensitive to its inputs."""
    model = AutoModelForSequenceClassification.from_config(copy.deepcopy(FAMILIES[request.param][0]))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture
def batches():
    """Two batches of two texts each; the second text of the first batch is shorter."""
    input_ids = torch.randint(5, TINY["vocab_size"], (2, 2, 12))
    attention_mask = torch.ones_like(input_ids)
    input_ids[0, 1, 7:] = attention_mask[0, 1, 7:] = 0
    return [{"input_ids": ids, "attention_mask": mask} for ids, mask in zip(input_ids, attention_mask, strict=True)]


def blocks(model):
    """Return each feed-forward block's layers that produce neurons, and the layer that reads them."""
    feed_forward = FEED_FORWARDS[model.config.model_type]
    stack = model.get_submodule(FAMILIES[model.config.model_type][1])
    return [
        ([layer.get_submodule(name) for name in feed_forward.up], layer.get_submodule(feed_forward.down))
        for layer in stack
    ]


def silence(model, dead):
    """Make neurons of every feed-forward block produce 0 on every text."""
    with torch.no_grad():
        for up in (up for ups, _ in blocks(model) for up in ups):
            rows = [i + start for start in range(0, len(up.weight), NUM_NEURONS) for i in dead]
            up.weight[rows] = 0
            if up.bias is not None:
                up.bias[rows] = 0


def test_a_student_with_all_neurons_has_the_logits_of_the_teacher(teacher, batches, tmp_path):
    student = create_student(teacher, intermediate_size=NUM_NEURONS, calibration_batches=batches)
    assert torch.equal(logits(student, batches[0]), logits(teacher, batches[0]))
    assert torch.equal(logits(reloaded(student, tmp_path), batches[0]), logits(teacher, batches[0]))


def test_neurons_that_are_always_0_are_dropped_first_and_the_logits_stay(teacher, batches, tmp_path):
    dead = [0, 3, NUM_NEURONS - 1]
    silence(teacher, dead)
    student = create_student(teacher, intermediate_size=NUM_NEURONS - 3, calibration_batches=batches)
    torch.testing.assert_close(logits(student, batches[0]), logits(teacher, batches[0]), atol=1e-5, rtol=1e-4)
    assert getattr(student.config, FEED_FORWARDS[student.config.model_type].size) == NUM_NEURONS - 3
    assert torch.equal(logits(reloaded(student, tmp_path), batches[0]), logits(student, batches[0]))
    living = [i for i in range(NUM_NEURONS) if i not in dead]
    for (_, narrow), (_, wide) in zip(blocks(student), blocks(teacher), strict=True):
        assert torch.equal(narrow.weight, wide.weight[:, living])


def test_importance_is_the_mean_activation_of_tokens_times_the_norm_of_the_outgoing_weights(batches):
    teacher = tiny_model(num_hidden_layers=1, hidden_act="relu")
    layer = teacher.bert.encoder.layer[0]
    with torch.no_grad():
        nn.init.zeros_(layer.intermediate.dense.weight)
        nn.init.zeros_(layer.intermediate.dense.bias)
        nn.init.zeros_(layer.output.dense.weight)
        # activation times norm: 2 * 1 = 2, 1 * 5 = 5 (a 3-4-5 triangle), 4 * 1 = 4, all others 0
        layer.intermediate.dense.bias[[1, 5, 9]] = torch.tensor([2.0, 1.0, 4.0])
        layer.output.dense.weight[0, [1, 5, 9]] = torch.tensor([1.0, 3.0, -1.0])
        layer.output.dense.weight[1, 5] = 4.0
    student = keep_neurons(teacher, 2, batches)
    assert student.bert.encoder.layer[0].intermediate.dense.bias.tolist() == [1.0, 4.0]


def test_padding_and_the_split_into_batches_do_not_count(batches):
    teacher = tiny_model(num_hidden_layers=2)
    singles = [{name: value[i : i + 1] for name, value in batch.items()} for batch in batches for i in range(2)]
    singles[1] = {name: value[:, :7] for name, value in singles[1].items()}
    narrow, same = (keep_neurons(teacher, 8, calibration) for calibration in (batches, singles))
    assert all(torch.equal(weight, same.state_dict()[name]) for name, weight in narrow.state_dict().items())


def test_depth_width_and_architecture_can_be_combined(batches, tmp_path):
    teacher = tiny_model(num_hidden_layers=4)
    student = create_student(
        teacher, 2, layers="first", architecture="distilbert", intermediate_size=8, calibration_batches=batches
    )
    assert (student.config.n_layers, student.config.hidden_dim) == (2, 8)
    assert torch.equal(logits(reloaded(student, tmp_path), batches[0]), logits(student, batches[0]))


def test_the_teacher_is_not_changed_and_stays_in_training_mode(batches):
    teacher = tiny_model(num_hidden_layers=2).train()
    before = copy.deepcopy(teacher.state_dict())
    keep_neurons(teacher, 4, batches)
    assert teacher.training
    assert all(torch.equal(weight, before[name]) for name, weight in teacher.state_dict().items())
    assert not any(module._forward_pre_hooks for module in teacher.modules())


@pytest.mark.parametrize("wanted", [0, -1, NUM_NEURONS + 1])
def test_a_number_of_neurons_that_the_teacher_does_not_have_is_refused_before_weights_are_loaded(
    wanted, batches, tmp_path
):
    tiny_model().config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=rf"from 1 to {NUM_NEURONS}, the model's number of neurons, got {wanted}\."):
        create_student(tmp_path, 1, intermediate_size=wanted, calibration_batches=batches)


def test_a_family_whose_neurons_are_not_known_is_refused(batches):
    config = AutoConfig.for_model(
        "gpt_neox", vocab_size=25, hidden_size=16, num_hidden_layers=2, num_attention_heads=2
    )
    with pytest.raises(ValueError, match="not possible for a 'gpt_neox' model.*possible: bert, roberta"):
        create_student(
            AutoModelForSequenceClassification.from_config(config), 1, intermediate_size=4, calibration_batches=batches
        )


def test_neurons_need_calibration_text_and_the_reverse(batches):
    with pytest.raises(ValueError, match="`intermediate_size` needs `calibration_batches`"):
        create_student(tiny_model(), intermediate_size=4)
    with pytest.raises(ValueError, match="`calibration_batches` needs `intermediate_size`"):
        create_student(tiny_model(), 1, calibration_batches=batches)
    with pytest.raises(ValueError, match="has no token"):
        create_student(tiny_model(), intermediate_size=4, calibration_batches=[])


@pytest.mark.parametrize(("choice", "layers"), [("uniform", [0, 2, 5]), ("first", [0, 1, 2]), ("last", [3, 4, 5])])
def test_layers_can_be_chosen_by_name(choice, layers):
    teacher = tiny_model(num_hidden_layers=6)
    assert select_layers(6, 3, choice) == layers
    student = create_student(teacher, 3, layers=choice)
    for new, old in enumerate(layers):
        weights = [m.bert.encoder.layer[i].output.dense.weight for m, i in ((student, new), (teacher, old))]
        assert torch.equal(*weights)


def test_an_unknown_choice_of_layers_and_a_choice_without_a_number_are_refused():
    with pytest.raises(ValueError, match="one of uniform, first, last or a list of indices, got 'middle'"):
        create_student(tiny_model(), 1, layers="middle")
    with pytest.raises(ValueError, match="`layers='first'` needs `num_hidden_layers`"):
        create_student(tiny_model(), layers="first")
