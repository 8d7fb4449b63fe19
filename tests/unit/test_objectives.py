"""The contract of every objective in `OBJECTIVES`, reading specs, and aligning label spaces."""

import inspect
import math
import re
from dataclasses import fields, replace

import pytest
import torch
from transformers import BertConfig

from hf_distill import functional
from hf_distill.classifiers.label_maps import align_labels, are_placeholders, match_labels
from hf_distill.classifiers.outputs import ClassifierOutputs
from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.objectives import LOGIT_OBJECTIVES, OBJECTIVES, DistillationLoss, accepted_arguments, build_objectives
from hf_distill.objectives.class_weights import LabelCounts
from hf_distill.objectives.logits import KLDivergence, LogitMSE

CLASSES, REGRESSION = PROBLEM_TYPES["single_label_classification"], PROBLEM_TYPES["regression"]
# No hyperparameter has its default value, so a round trip that drops one fails.
UNUSUAL = {
    "ce": {"label_smoothing": 0.2, "class_weights": {"a": 2.0, "b": 0.5, "c": 3.0}, "weight": 0.3},
    "kl": {"temperature": 3.0, "weight": 0.3},
    "reverse_kl": {"temperature": 3.0, "weight": 0.3},
    "jsd": {"temperature": 3.0, "beta": 0.3, "weight": 0.3},
    "logit_mse": {"weight": 0.3},
    "dkd": {"temperature": 3.0, "alpha": 2.0, "beta": 3.0, "weight": 0.3},
    "dist": {"temperature": 3.0, "beta": 2.0, "gamma": 3.0, "weight": 0.3},
    "hidden_mse": {"layer_mapping": {1: 2}, "projection": False, "weight": 0.3},
    "hidden_cosine": {"layer_mapping": "uniform", "projection": False, "weight": 0.3},
    "embedding_mse": {"projection": False, "weight": 0.3},
    "pkd": {"layer_mapping": "last", "projection": False, "weight": 0.3},
    "attention_mse": {"layer_mapping": "last", "weight": 0.3},
    "minilm_relation": {"num_relation_heads": 2, "layer_mapping": {1: 3, 2: 4}, "weight": 0.3},
}
HYPER_PARAMETERS = [(name, argument) for name in OBJECTIVES for argument in UNUSUAL[name] if argument != "weight"]
SIZES = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}
CONFIGS = [BertConfig(num_hidden_layers=layers, **SIZES) for layers in (2, 4)]
LENGTH = 5
FIELDS = [field.name for field in fields(ClassifierOutputs)]


def side(logits, num_layers):
    """Random outputs of a model in all fields."""
    num_rows = len(logits)

    def states():
        return torch.randn(num_rows, LENGTH, SIZES["hidden_size"])

    hidden_states = tuple(states() for _ in range(num_layers + 1))
    return ClassifierOutputs(
        logits,
        hidden_states,
        torch.stack([state[:, 0] for state in hidden_states], dim=1),
        tuple(torch.randn(num_rows, 2, LENGTH, LENGTH).softmax(-1) for _ in range(num_layers)),
        tuple((states(), states(), states()) for _ in range(num_layers)),
    )


def outputs(num_rows=6, num_labels=3):
    student, teacher = (side(3 * torch.randn(num_rows, num_labels), config.num_hidden_layers) for config in CONFIGS)
    mask = (torch.arange(LENGTH) < torch.randint(2, LENGTH + 1, (num_rows, 1))).long()
    return student, teacher, {"labels": torch.randint(num_labels, (num_rows,)), "attention_mask": mask}


def mapped(value, function):
    """Outputs with a function applied to every tensor."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, tuple):
        return tuple(mapped(item, function) for item in value)
    return replace(value, **{name: mapped(getattr(value, name), function) for name in FIELDS})


def loss_of(spec, problem_type=CLASSES):
    loss = DistillationLoss(build_objectives(spec)).bind(problem_type, *CONFIGS)
    loss.bind_classes(["a", "b", "c"], lambda: LabelCounts([1, 1, 1], 3))
    return loss


# ---- The contract ----


@pytest.fixture(params=OBJECTIVES)
def name(request):
    return request.param


def test_an_objective_gives_one_finite_float32_value_per_row(name):
    student, teacher, batch = outputs()
    terms = loss_of({name: 1.0})(student, teacher, batch)
    assert list(terms) == [name]
    assert terms[name].shape == (6,)
    assert terms[name].dtype == torch.float32
    assert terms[name].isfinite().all()
    assert (terms[name] > 0).all()
    half = [mapped(side, torch.Tensor.bfloat16) for side in (student, teacher)]
    assert loss_of({name: 1.0})(*half, batch)[name].dtype == torch.float32


def test_an_objective_calls_its_function_with_its_hyperparameters(name):
    student, teacher, batch = outputs()
    s, t, y = student.logits, teacher.logits, batch["labels"]
    student_states, teacher_states = student.hidden_states, teacher.hidden_states
    mask = batch["attention_mask"].bool()
    relations = [
        functional.relation_divergence(a, b, mask, num_heads=2)
        for i, j in ((1, 3), (2, 4))
        for a, b in zip(student.qkv[i - 1], teacher.qkv[j - 1], strict=True)
    ]
    expected = {
        "ce": functional.cross_entropy(s, y, label_smoothing=0.2, class_weights=torch.tensor([2.0, 0.5, 3.0])),
        "kl": functional.kl_divergence(s, t, temperature=3.0),
        "reverse_kl": functional.reverse_kl_divergence(s, t, temperature=3.0),
        "jsd": functional.jensen_shannon_divergence(s, t, temperature=3.0, beta=0.3),
        "logit_mse": functional.logit_mse(s, t),
        "dkd": functional.decoupled_kl_divergence(s, t, y, temperature=3.0, alpha=2.0, beta=3.0),
        "dist": functional.dist_loss(s, t, temperature=3.0, beta=2.0, gamma=3.0),
        "hidden_mse": functional.hidden_mse(student_states[1], teacher_states[2], mask),
        "hidden_cosine": sum(functional.hidden_cosine(student_states[i], teacher_states[2 * i], mask) for i in (1, 2))
        / 2,
        "embedding_mse": functional.hidden_mse(student_states[0], teacher_states[0], mask),
        "pkd": functional.normalised_distance(student.cls_states[:, [2]], teacher.cls_states[:, [4]]),
        "attention_mse": functional.attention_mse(student.attentions[-1], teacher.attentions[-1], mask),
        "minilm_relation": sum(relations) / 2,
    }
    assert torch.allclose(loss_of({name: UNUSUAL[name]})(student, teacher, batch)[name], expected[name], rtol=1e-6)


def test_the_value_does_not_contain_the_weight(name):
    student, teacher, batch = outputs()
    one, half = (loss_of({name: weight})(student, teacher, batch)[name] for weight in (1.0, 0.5))
    assert torch.equal(one, half)


def test_gradients_reach_only_the_student(name):
    student, teacher, batch = outputs()
    leaves = []
    student = mapped(student, lambda tensor: leaves.append(tensor.requires_grad_()) or tensor)
    value = loss_of({name: 1.0})(student, teacher, batch)[name]
    value.sum().backward()
    gradients = [tensor.grad.abs().flatten(1).sum(dim=1) for tensor in leaves if tensor.grad is not None]
    assert (torch.stack(gradients).sum(dim=0) > 0).all()
    detached = mapped(student, torch.Tensor.detach)
    assert not loss_of({name: 1.0})(detached, teacher, batch)[name].requires_grad


def test_an_objective_reads_exactly_the_outputs_that_it_declares(name):
    student, teacher, batch = outputs()
    loss = loss_of({name: 1.0})
    value = loss(student, teacher, batch)[name]
    for field in FIELDS:
        changed_student, changed_teacher = (
            replace(side, **{field: mapped(getattr(side, field), lambda tensor: tensor + torch.rand_like(tensor))})
            for side in (student, teacher)
        )
        assert (not torch.equal(value, loss(student, changed_teacher, batch)[name])) == (field in loss.teacher_reads)
        assert (not torch.equal(value, loss(changed_student, teacher, batch)[name])) == (field in loss.student_reads)
    if not loss.teacher_reads:
        assert torch.equal(loss(student, None, batch)[name], loss(student, teacher, batch)[name])


def test_rows_depend_on_each_other_only_if_the_objective_declares_it(name):
    student, teacher, batch = outputs()
    loss = loss_of({name: 1.0})
    value = loss(student, teacher, batch)[name]
    changed = mapped(student, lambda tensor: torch.cat([tensor[:3], torch.rand_like(tensor[3:])]))
    difference = (loss(changed, teacher, batch)[name] - value)[:3].abs().max().item()
    assert (difference < 1e-6) == OBJECTIVES[name].is_per_unit
    assert difference < 1e-6 or difference > 1e-3


def test_the_spec_builds_the_same_objective_again(name):
    assert set(UNUSUAL[name]) == set(accepted_arguments(name))
    loss = loss_of({name: UNUSUAL[name]})
    assert loss.spec() == {name: UNUSUAL[name]}
    again = loss_of(loss.spec())
    assert again.spec() == loss.spec()
    student, teacher, batch = outputs()
    assert torch.equal(again(student, teacher, batch)[name], loss(student, teacher, batch)[name])
    plain = loss_of({name: 0.3})(student, teacher, batch)[name]
    assert name in ("logit_mse", "embedding_mse") or not torch.allclose(plain, again(student, teacher, batch)[name])


@pytest.mark.parametrize(("name", "argument"), [pair for pair in HYPER_PARAMETERS if pair[1] != "projection"])
def test_every_hyperparameter_changes_the_value(name, argument):
    student, teacher, batch = outputs()
    default = loss_of({name: 1.0})(student, teacher, batch)[name]
    changed = loss_of({name: {argument: UNUSUAL[name][argument]}})(student, teacher, batch)[name]
    assert (default - changed).abs().max() > 1e-3


def test_defaults_resolve_when_the_problem_type_is_known(name):
    spec = loss_of({name: {}}).spec()[name]
    assert spec["weight"] == 1.0
    assert spec.get("temperature", 2.0) == 2.0
    assert None not in spec.values()


def test_an_objective_is_documented(name):
    cls = OBJECTIVES[name]
    assert cls.name == name
    assert re.fullmatch(r"[A-Z].* et al\. \(\d{4}\).*, https://\S+|[A-Z]\w+ & \w+ \(\d{4}\), https://\S+", cls.paper)
    assert inspect.getdoc(cls)
    assert cls.__doc__
    for function in re.findall(r"\[`functional\.(\w+)`\]", cls.__doc__):
        assert callable(getattr(functional, function))


def test_an_unknown_hyperparameter_is_rejected_and_the_known_ones_are_listed(name):
    message = f"`{name}` has no hyperparameter 'temprature'; its hyperparameters are .*weight"
    with pytest.raises(ValueError, match=message):
        build_objectives({name: {"temprature": 1.0}})


@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf])
def test_a_weight_that_is_negative_or_not_finite_is_rejected(name, weight):
    with pytest.raises(ValueError, match=rf"`weight` of `{name}` must be a finite number >= 0, got {weight}\."):
        build_objectives({name: weight})


@pytest.mark.parametrize("value", ["1", True, [1.0]], ids=repr)
def test_a_weight_that_is_not_a_number_is_rejected(name, value):
    with pytest.raises(
        ValueError,
        match=rf"`weight` of objective `{name}` must be a number or a schedule, got {re.escape(repr(value))}",
    ):
        build_objectives({name: value})


@pytest.mark.parametrize(
    ("name", "argument"),
    [pair for pair in HYPER_PARAMETERS if pair[1] not in ("temperature", "num_relation_heads", "class_weights")]
    + [(name, "weight") for name in OBJECTIVES],
)
def test_null_is_rejected_by_name_if_the_default_is_not_null(name, argument):
    # An empty value in YAML (`kl:`) and null in JSON become None.
    with pytest.raises(ValueError, match=argument):
        build_objectives({name: {argument: None}})


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
@pytest.mark.parametrize(("name", "argument"), HYPER_PARAMETERS)
def test_a_hyperparameter_out_of_range_is_rejected_by_name(name, argument, value):
    with pytest.raises(ValueError, match=f"`{argument}`.*{value}"):
        build_objectives({name: {argument: value}})


# ---- Specs ----


def test_the_soft_losses_are_the_objectives_that_read_the_teachers_logits():
    assert {"kl", "reverse_kl", "jsd", "logit_mse", "dkd", "dist"} <= set(LOGIT_OBJECTIVES)
    assert {"ce", "pkd", "hidden_mse", "minilm_relation"}.isdisjoint(LOGIT_OBJECTIVES)


def test_an_unknown_objective_is_rejected_and_the_known_ones_are_listed():
    with pytest.raises(ValueError, match=f"no objective 'nll'; the objectives are {', '.join(OBJECTIVES)}"):
        build_objectives({"kl": 1.0, "nll": 1.0})


def test_a_spec_gives_weights_or_hyperparameters_in_its_order():
    loss = loss_of({"ce": 0.1, "kl": {"weight": 0.9, "temperature": 4.0}})
    assert loss.weights == {"ce": 0.1, "kl": 0.9}
    assert loss.spec() == {
        "ce": {"label_smoothing": 0.0, "weight": 0.1},
        "kl": {"temperature": 4.0, "weight": 0.9},
    }
    student, teacher, batch = outputs()
    terms = loss(student, teacher, batch)
    assert list(terms) == ["ce", "kl"]
    assert torch.equal(terms["kl"], functional.kl_divergence(student.logits, teacher.logits, 4.0))
    assert torch.equal(terms["ce"], functional.cross_entropy(student.logits, batch["labels"]))


def test_objectives_with_weight_zero_are_dropped_and_their_outputs_are_not_read():
    loss = loss_of({"ce": 1.0, "kl": 0.0, "dkd": 0})
    assert loss.weights == {"ce": 1.0}
    assert list(loss.spec()) == ["ce"]
    assert loss.teacher_reads == frozenset()
    assert loss.reads_labels == []
    assert loss_of({"ce": 0.0, "dkd": 1.0}).reads_labels == ["dkd"]
    assert loss_of({"ce": 1.0, "kl": 1.0}).teacher_reads == {"logits"}


@pytest.mark.parametrize(("spec", "names"), [({"kl": 0.0, "ce": 0}, r"\['kl', 'ce'\]"), ({}, "no objective")])
def test_a_loss_without_any_weight_is_rejected(spec, names):
    with pytest.raises(ValueError, match=f"At least one objective needs a weight > 0, got {names}"):
        loss_of(spec)


def test_an_objective_can_be_used_only_once():
    with pytest.raises(ValueError, match=r"can be used only once, got \['kl', 'kl'\]"):
        loss_of([KLDivergence(1.0), KLDivergence(2.0)])


def test_objectives_can_be_given_as_instances():
    objectives = [KLDivergence(4.0, weight=0.5), LogitMSE()]
    assert build_objectives(objectives) == objectives
    assert loss_of(objectives).spec() == {"kl": {"temperature": 4.0, "weight": 0.5}, "logit_mse": {"weight": 1.0}}


@pytest.mark.parametrize("spec", ["kl", ["kl"], [KLDivergence(), "ce"], [KLDivergence], 5, None], ids=repr)
def test_a_spec_of_another_type_is_rejected(spec):
    with pytest.raises(TypeError, match="`objectives` must map names to weights, or list `Objective`s; got"):
        build_objectives(spec)


# ---- Problem types and rows without labels ----


def test_regression_accepts_ce_kl_and_the_layer_objectives(name):
    if name in ("ce", "kl") or not OBJECTIVES[name].student_reads & {"logits"}:
        assert name in loss_of({name: 1.0}, REGRESSION).weights
        return
    with pytest.raises(
        ValueError, match=f"`{name}` is only defined for .*single_label_classification, .* is regression"
    ):
        loss_of({name: 1.0}, REGRESSION)


def test_regression_terms_are_squared_errors_to_teacher_and_target():
    student, teacher = ClassifierOutputs(torch.tensor([[1.0], [2.0]])), ClassifierOutputs(torch.tensor([[3.0], [2.5]]))
    batch = {"labels": torch.tensor([0.0, math.nan])}
    terms = loss_of({"ce": 1.0, "kl": 1.0}, REGRESSION)(student, teacher, batch)
    assert terms["ce"].tolist() == [1.0, 0.0]
    assert terms["kl"].tolist() == [4.0, 0.25]


def test_temperature_and_label_smoothing_are_rejected_for_regression():
    with pytest.raises(ValueError, match="`temperature` is 3.0, but regression has no distribution"):
        loss_of({"kl": {"temperature": 3.0}}, REGRESSION)
    with pytest.raises(ValueError, match="Label smoothing is not defined for regression"):
        loss_of({"ce": {"label_smoothing": 0.1}}, REGRESSION)


def test_an_objective_that_is_dropped_need_not_fit_the_problem_type():
    assert loss_of({"ce": 1.0, "dist": 0.0}, REGRESSION).weights == {"ce": 1.0}


def test_rows_and_batches_without_labels_have_no_hard_loss():
    student, teacher, batch = outputs()
    batch["labels"][2] = -100
    loss = loss_of({"ce": 1.0, "kl": 1.0})
    assert loss(student, teacher, batch)["ce"][2] == 0
    unlabelled = loss(student, teacher, {})
    assert unlabelled["ce"].tolist() == [0.0] * 6
    assert (unlabelled["kl"] > 0).all()
    assert CLASSES.is_labelled(batch["labels"]).tolist() == [True, True, False, True, True, True]


def test_a_regression_row_is_labelled_if_any_target_is():
    labels = torch.tensor([[0.0, 1.0], [math.nan, math.nan], [math.nan, 1.0]])
    assert REGRESSION.is_labelled(labels).tolist() == [True, False, True]
    assert REGRESSION.is_labelled(torch.tensor([math.nan, 1.0])).tolist() == [False, True]


def test_agreement_means_the_same_top_class():
    student = torch.tensor([[1.0, 2.0], [3.0, 2.0], [0.0, 1.0]])
    teacher = torch.tensor([[0.0, 9.0], [0.0, 9.0], [-5.0, -4.0]])
    assert PROBLEM_TYPES["single_label_classification"].agreement(student, teacher).tolist() == [1.0, 0.0, 1.0]


# ---- Label spaces ----


def test_classes_are_aligned_by_name_ignoring_case():
    teacher = {0: "Positive", 1: "negative", 2: "NEUTRAL"}
    student = {0: "negative", 1: "neutral", 2: "positive"}
    order = align_labels(teacher, student)
    assert order == [1, 2, 0]
    logits = torch.tensor([[10.0, 20.0, 30.0]])  # positive, negative, neutral
    assert logits[:, order].tolist() == [[20.0, 30.0, 10.0]]


def test_classes_that_are_in_order_need_no_alignment():
    assert align_labels({0: "no", 1: "yes"}, {0: "no", 1: "yes"}) is None
    assert align_labels({0: "No", 1: "Yes"}, {1: "yes", 0: "no"}) is None


def test_exact_names_are_preferred_over_names_that_only_differ_in_case():
    assert align_labels({0: "US", 1: "us"}, {0: "us", 1: "US"}) == [1, 0]


def test_placeholders_do_not_define_an_order():
    placeholders = {0: "LABEL_0", 1: "LABEL_1"}
    assert are_placeholders(placeholders)
    assert not are_placeholders({0: "LABEL_0", 1: "yes"})
    assert not are_placeholders({0: "LABEL_a", 1: "LABEL_1"})
    assert align_labels(placeholders, {0: "yes", 1: "no"}) is None
    assert align_labels({0: "yes", 1: "no"}, placeholders) is None


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ({0: "bad", 1: "good"}, {0: "negative", 1: "positive"}),
        ({0: "US", 1: "us"}, {0: "Us", 1: "uS"}),
        ({0: "no", 1: "yes"}, {0: "NO", 1: "no"}),
    ],
    ids=["other names", "ambiguous on both sides", "ambiguous on one side"],
)
def test_different_names_are_rejected_and_both_maps_are_shown(source, target):
    with pytest.raises(ValueError, match="label names differ") as error:
        align_labels(source, target)
    for name in (*source.values(), *target.values()):
        assert repr(name) in str(error.value)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ({0: "no", 1: "yes"}, {0: "no", 1: "no"}),
        ({0: "no", 1: "yes", 2: "maybe"}, {0: "yes", 1: "yes", 2: "no"}),
        ({0: "no", 1: "no"}, {0: "no", 1: "yes"}),
    ],
    ids=["twice in the target, in order", "twice in the target, out of order", "twice in the source"],
)
def test_a_class_is_never_used_twice(source, target):
    with pytest.raises(ValueError, match="label names differ"):
        align_labels(source, target)


def test_different_numbers_of_classes_are_rejected_and_both_maps_are_shown():
    message = r"2 classes cannot be aligned with 3 classes: \{0: 'a', 1: 'b'\} and \{0: 'a', 1: 'b', 2: 'c'\}"
    with pytest.raises(ValueError, match=message):
        align_labels({0: "a", 1: "b"}, {0: "a", 1: "b", 2: "c"})


def test_the_names_of_a_dataset_can_be_a_subset_of_the_model_names():
    assert match_labels(["yes", "no"], {"no": 0, "maybe": 1, "yes": 2}) == [2, 0]
    assert match_labels(["YES", "No"], {"no": 0, "maybe": 1, "yes": 2}) == [2, 0]
    assert match_labels(["yes", "no"], {"LABEL_0": 0, "LABEL_1": 1}) == [0, 1]
    with pytest.raises(ValueError, match="label names differ.*'perhaps'.*'maybe'"):
        match_labels(["perhaps"], {"no": 0, "maybe": 1})


@pytest.mark.parametrize(
    ("names", "label2id"), [(["Us"], {"US": 0, "us": 1}), (["NO", "No"], {"no": 0, "yes": 1})], ids=["model", "data"]
)
def test_an_ambiguous_name_is_rejected(names, label2id):
    with pytest.raises(ValueError, match="label names differ"):
        match_labels(names, label2id)
