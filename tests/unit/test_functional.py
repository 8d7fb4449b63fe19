"""Loss functions against values computed by hand, a float64 reference and finite differences.

The reference below is plain formulas in float64 and shares no code with the library.
"""

import math

import pytest
import torch
import torch.nn.functional as F

from hf_distill import functional
from hf_distill.objectives import LOGIT_OBJECTIVES

EPS = torch.finfo(torch.float32).eps
TEMPERATURES = [0.5, 1.0, 2.0, 20.0]


# name -> (student logits, teacher logits, labels, temperature) -> (batch,)
LOSSES = {
    "kl": lambda s, t, y, tau: functional.kl_divergence(s, t, tau),
    "reverse_kl": lambda s, t, y, tau: functional.reverse_kl_divergence(s, t, tau),
    "jsd": lambda s, t, y, tau: functional.jensen_shannon_divergence(s, t, tau, beta=0.3),
    "logit_mse": lambda s, t, y, tau: functional.logit_mse(s, t),
    "dkd": lambda s, t, y, tau: functional.decoupled_kl_divergence(s, t, y, tau, alpha=1.5, beta=8.0),
    "dist": lambda s, t, y, tau: functional.dist_loss(s, t, tau, beta=1.0, gamma=2.0),
}
TEMPERED = [name for name in LOSSES if name != "logit_mse"]
DIVERGENCES = ["kl", "reverse_kl", "jsd"]
PER_ROW = [name for name in LOSSES if name != "dist"]


def log_softmax(logits, tau=1.0):
    z = logits.double() / tau
    z = z - z.max(dim=-1, keepdim=True).values
    return z - z.exp().sum(dim=-1, keepdim=True).log()


def divergence(log_p, log_q):
    return (log_p.exp() * (log_p - log_q)).sum(dim=-1)


def kl_reference(s, t, y, tau):
    return tau**2 * divergence(log_softmax(t, tau), log_softmax(s, tau))


def reverse_kl_reference(s, t, y, tau):
    return tau**2 * divergence(log_softmax(s, tau), log_softmax(t, tau))


def jsd_reference(s, t, y, tau, beta=0.3):
    log_p, log_q = log_softmax(t, tau), log_softmax(s, tau)
    log_m = torch.stack([log_p + math.log(beta), log_q + math.log(1 - beta)]).logsumexp(dim=0)
    return tau**2 * (beta * divergence(log_p, log_m) + (1 - beta) * divergence(log_q, log_m))


def logit_mse_reference(s, t, y, tau):
    return (s.double() - t.double()).var(dim=-1, correction=0) / 2


def dkd_reference(s, t, y, tau, alpha=1.5, beta=8.0):
    def parts(logits):
        z = logits.double() / tau
        others = torch.stack([row[torch.arange(len(row)) != label] for row, label in zip(z, y, strict=True)])
        odds = z.gather(1, y[:, None])[:, 0] - others.logsumexp(dim=-1)
        return torch.stack([F.logsigmoid(odds), F.logsigmoid(-odds)], dim=-1), log_softmax(others)

    (student_binary, student_rest), (teacher_binary, teacher_rest) = parts(s), parts(t)
    return tau**2 * (
        alpha * divergence(teacher_binary, student_binary) + beta * divergence(teacher_rest, student_rest)
    )


def dist_reference(s, t, y, tau, beta=1.0, gamma=2.0):
    p, q = log_softmax(s, tau).exp(), log_softmax(t, tau).exp()

    def correlation(x, y):
        x, y = x - x.mean(dim=-1, keepdim=True), y - y.mean(dim=-1, keepdim=True)
        norms = x.norm(dim=-1).clamp(min=1e-8) * y.norm(dim=-1).clamp(min=1e-8)
        return (x * y).sum(dim=-1) / norms

    return tau**2 * (beta * (1 - correlation(p, q)) + gamma * (1 - correlation(p.T, q.T)).mean())


REFERENCES = {
    "kl": kl_reference,
    "reverse_kl": reverse_kl_reference,
    "jsd": jsd_reference,
    "logit_mse": logit_mse_reference,
    "dkd": dkd_reference,
    "dist": dist_reference,
}


def value_and_gradient(loss, student, *others):
    student = student.clone().requires_grad_()
    value = loss(student, *others)
    return value.detach(), torch.autograd.grad(value.sum(), student)[0]


def draw(num_rows=16, num_labels=5, scale=3.0):
    return (
        scale * torch.randn(num_rows, num_labels),
        scale * torch.randn(num_rows, num_labels),
        torch.randint(num_labels, (num_rows,)),
    )


EXTREMES = {
    "moderate": lambda s, t: (s, t),
    "spread of 100": lambda s, t: (30 * s, 30 * t),
    "spread of 1e4": lambda s, t: (1e4 * torch.tanh(s), 1e4 * torch.tanh(t)),
    "student far from the teacher": lambda s, t: (1e4 * torch.tanh(s), t),
    "common offset of 1e4": lambda s, t: (s + 1e4, t + 1e4),
    "offset of -1e4 of the teacher": lambda s, t: (s, t - 1e4),
    "nearly equal": lambda s, t: (t + 1e-2 * s, t),
}


def test_every_soft_loss_has_a_function_and_a_reference_here():
    assert LOSSES.keys() == REFERENCES.keys() == set(LOGIT_OBJECTIVES)


# ---- Values ----


# Teacher (3/4, 1/4), student (1/2, 1/2); with temperature T the logits are T times larger and the loss T^2.
MIXTURE = (5 / 8, 3 / 8)
BY_HAND = {
    "kl": 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5),
    "reverse_kl": 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25),
    "jsd": 0.5 * (0.75 * math.log(0.75 / MIXTURE[0]) + 0.25 * math.log(0.25 / MIXTURE[1]))
    + 0.5 * (0.5 * math.log(0.5 / MIXTURE[0]) + 0.5 * math.log(0.5 / MIXTURE[1])),
}


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("name", DIVERGENCES)
def test_divergence_matches_the_value_computed_by_hand(name, temperature):
    loss = {**LOSSES, "jsd": lambda s, t, y, tau: functional.jensen_shannon_divergence(s, t, tau)}[name]
    student, teacher = torch.zeros(1, 2), torch.tensor([[temperature * math.log(3.0), 0.0]])
    assert loss(student, teacher, None, temperature).item() == pytest.approx(temperature**2 * BY_HAND[name], rel=1e-5)


def test_jsd_weighs_the_teacher_by_beta():
    student, teacher = torch.zeros(1, 2), torch.tensor([[math.log(3.0), 0.0]])
    mixture = (0.25 * 0.75 + 0.75 * 0.5, 0.25 * 0.25 + 0.75 * 0.5)
    teacher_part = 0.75 * math.log(0.75 / mixture[0]) + 0.25 * math.log(0.25 / mixture[1])
    student_part = 0.5 * math.log(0.5 / mixture[0]) + 0.5 * math.log(0.5 / mixture[1])
    value = functional.jensen_shannon_divergence(student, teacher, beta=0.25).item()
    assert value == pytest.approx(0.25 * teacher_part + 0.75 * student_part, rel=1e-5)


def test_jsd_of_disjoint_distributions_is_the_entropy_of_beta():
    student, teacher = torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e4]])
    value = functional.jensen_shannon_divergence(student, teacher, beta=0.25).item()
    assert value == pytest.approx(-0.25 * math.log(0.25) - 0.75 * math.log(0.75), rel=1e-6)


def test_logit_mse_matches_the_value_computed_by_hand():
    # Differences (3, 0, 0), centred (2, -1, -1): half of their mean square is 6 / 3 / 2.
    student, teacher = torch.tensor([[4.0, 2.0, 3.0]]), torch.tensor([[1.0, 2.0, 3.0]])
    assert functional.logit_mse(student, teacher).item() == pytest.approx(1.0)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_dkd_matches_the_value_computed_by_hand(temperature):
    # Teacher (4, 3, 1) / 8 with label 0: b = (1/2, 1/2), the rest (3/4, 1/4). Student uniform: (1/3, 2/3), (1/2, 1/2).
    student, teacher = torch.zeros(1, 3), temperature * torch.tensor([[4.0, 3.0, 1.0]]).log()
    label_part = 0.5 * math.log(0.5 / (1 / 3)) + 0.5 * math.log(0.5 / (2 / 3))
    rest_part = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    value = functional.decoupled_kl_divergence(student, teacher, torch.tensor([0]), temperature, alpha=2.0, beta=8.0)
    assert value.item() == pytest.approx(temperature**2 * (2.0 * label_part + 8.0 * rest_part), rel=1e-5)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_dist_matches_the_value_computed_by_hand(temperature):
    # Centred (2, -1, -1) / 12 and (-1, 2, -1) / 12: their product sums to -3 / 144, their squares to 6 / 144 each.
    student = torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5]])
    teacher = student.roll(1, dims=1)
    logits = (temperature * student.log(), temperature * teacher.log())
    value = functional.dist_loss(*logits, temperature, beta=2.0, gamma=0.0)
    torch.testing.assert_close(value, torch.full((3,), temperature**2 * 2.0 * 1.5), rtol=1e-5, atol=0)
    value = functional.dist_loss(*logits, temperature, beta=0.0, gamma=3.0)
    torch.testing.assert_close(value, torch.full((3,), temperature**2 * 3.0 * 1.5), rtol=1e-5, atol=0)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("case", EXTREMES)
def test_value_and_gradient_match_the_float64_reference(name, case, temperature):
    *logits, labels = draw()
    student, teacher = EXTREMES[case](*logits)
    value, gradient = value_and_gradient(LOSSES[name], student, teacher, labels, temperature)
    expected, expected_gradient = value_and_gradient(
        REFERENCES[name], student.double(), teacher.double(), labels, temperature
    )
    # What float32 owes: some roundings of log-probabilities as large as the spread, times T^2 (and dkd's beta).
    spread = max((x.amax(dim=-1) - x.amin(dim=-1)).max().item() for x in (student, teacher))
    weight = {"dkd": 8.0}.get(name, 1.0)
    tolerance = 4 * EPS * weight * temperature**2 * (1 + spread / temperature)
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=tolerance)
    # dist divides by the norm of the centred probabilities, which shrinks with the temperature.
    tolerance = 1e-4 if name == "dist" else 2 * EPS * weight * temperature * (1 + spread / temperature)
    atol = tolerance + 1e-5 * expected_gradient.abs().max().item()
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=1e-4, atol=atol)


@pytest.mark.parametrize("lead", [30.0, 1e3, 1e4])
def test_dkd_keeps_the_digits_of_the_other_classes_when_the_label_dominates(lead):
    student, teacher, labels = draw(scale=1.0)
    is_label = F.one_hot(labels, 5).bool()
    student, teacher = (x.masked_fill(is_label, lead) for x in (student, teacher))
    value, gradient = value_and_gradient(LOSSES["dkd"], student, teacher, labels, 1.0)
    expected, expected_gradient = value_and_gradient(dkd_reference, student.double(), teacher.double(), labels, 1.0)
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("case", EXTREMES)
def test_loss_is_not_negative_beyond_rounding(name, case, temperature):
    *logits, labels = draw(num_rows=64)
    value = LOSSES[name](*EXTREMES[case](*logits), labels, temperature)
    assert value.min() >= -EPS * temperature**2 * {"dkd": 16, "dist": 4}.get(name, 2)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_gradient_are_zero_when_student_equals_teacher(name, temperature):
    teacher, _, labels = draw()
    value, gradient = value_and_gradient(LOSSES[name], teacher, teacher, labels, temperature)
    assert value.abs().max() <= 4 * EPS * temperature**2
    assert gradient.abs().max() <= 4e-6 * max(1.0, temperature**2)


@pytest.mark.parametrize("name", LOSSES)
def test_loss_is_positive_when_student_differs_from_teacher(name):
    student, teacher, labels = draw()
    assert LOSSES[name](student, teacher, labels, 2.0).min() > 0.01


@pytest.mark.parametrize("side", ["student", "teacher", "both"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_constant_added_to_all_logits_of_one_side_does_not_change_the_loss(name, side):
    student, teacher, labels = draw()
    offsets = 8192.0 * torch.randint(-1, 2, (len(student), 1))
    shifted = {"student": student, "teacher": teacher}
    for which in shifted if side == "both" else [side]:
        # Multiples of 2^-10, so that float32 holds the shifted logits exactly.
        shifted[which] = (shifted[which] * 1024).round() / 1024
    plain = value_and_gradient(LOSSES[name], shifted["student"], shifted["teacher"], labels, 2.0)
    for which in shifted if side == "both" else [side]:
        shifted[which] = shifted[which] + offsets
    moved = value_and_gradient(LOSSES[name], shifted["student"], shifted["teacher"], labels, 2.0)
    torch.testing.assert_close(moved[0], plain[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(moved[1], plain[1], rtol=1e-5, atol=1e-6)


# ---- Gradients ----


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("name", LOSSES)
def test_gradient_matches_finite_differences(name, temperature):
    student, teacher, labels = draw(num_rows=6, scale=1.5)
    _, gradient = value_and_gradient(LOSSES[name], student, teacher, labels, temperature)
    # Rounding is T^2 * 1e-7 / step; dist bends too much for more, and is large enough for less.
    step = 0.02 if name == "dist" else 0.02 * max(1.0, temperature / 2)
    for direction in torch.randn(3, *student.shape):
        above, below = (
            LOSSES[name](student + sign * step * direction, teacher, labels, temperature).double().sum()
            for sign in (1, -1)
        )
        slope = ((above - below) / (2 * step)).item()
        scale = gradient.norm().item()  # standard deviation of the slope along a normal direction
        assert (gradient * direction).sum().item() == pytest.approx(slope, rel=1e-2, abs=1e-2 * scale)


@pytest.mark.parametrize("name", [*DIVERGENCES, "dkd"])
def test_the_squared_temperature_keeps_the_gradient_size_at_large_temperatures(name):
    student, teacher, labels = draw(scale=1.0)
    norms = {
        tau: value_and_gradient(LOSSES[name], student, teacher, labels, tau)[1].norm().item() for tau in (50.0, 100.0)
    }
    assert norms[100.0] == pytest.approx(norms[50.0], rel=0.05)
    assert (norms[50.0] / 50**2) / (norms[100.0] / 100**2) == pytest.approx(4.0, rel=0.05)  # without the factor


def test_the_squared_temperature_of_dist_makes_its_gradient_grow():
    # A correlation has no scale, so its gradient settles without the factor, which is the authors'.
    student, teacher, labels = draw(scale=1.0)
    norms = [value_and_gradient(LOSSES["dist"], student, teacher, labels, tau)[1].norm() for tau in (20.0, 40.0)]
    assert (norms[1] / norms[0]).item() == pytest.approx(4.0, rel=0.1)


def test_the_gradient_of_kl_converges_to_the_gradient_of_logit_mse():
    student, teacher, labels = draw(scale=1.0)
    _, limit = value_and_gradient(LOSSES["logit_mse"], student, teacher, labels, 1.0)
    distances = []
    for temperature in (10.0, 40.0):
        _, gradient = value_and_gradient(LOSSES["kl"], student, teacher, labels, temperature)
        distances.append(((gradient - limit).norm() / limit.norm()).item())
    assert distances[1] < 0.05
    assert distances[1] == pytest.approx(distances[0] / 4, rel=0.2)  # the error is of order 1 / T


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_kl_is_the_dkd_label_part_plus_the_rest_weighted_by_its_probability(temperature):
    student, teacher, labels = draw()

    def decoupled(s):
        rest_mass = 1 - log_softmax(teacher, temperature).exp().gather(1, labels[:, None])[:, 0]
        label_part = functional.decoupled_kl_divergence(s, teacher, labels, temperature, alpha=1.0, beta=0.0)
        rest_part = functional.decoupled_kl_divergence(s, teacher, labels, temperature, alpha=0.0, beta=1.0)
        return label_part + rest_mass * rest_part

    value, gradient = value_and_gradient(decoupled, student)
    kl, kl_gradient = value_and_gradient(LOSSES["kl"], student, teacher, labels, temperature)
    torch.testing.assert_close(value, kl.double(), rtol=1e-5, atol=4 * EPS * temperature**2)
    torch.testing.assert_close(gradient, kl_gradient, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_no_gradient_reaches_a_teacher_that_does_not_require_one(name):
    student, teacher, labels = draw()
    assert not LOSSES[name](student, teacher, labels, 2.0).requires_grad
    assert LOSSES[name](student.requires_grad_(), teacher, labels, 2.0).requires_grad


# ---- Forbidden classes ----


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_class_that_both_sides_forbid_is_ignored(name, temperature):
    student, teacher, labels = draw()
    rest = value_and_gradient(LOSSES[name], student[:, 1:], teacher[:, 1:], labels, temperature)
    student[:, 0] = teacher[:, 0] = -math.inf
    value, gradient = value_and_gradient(LOSSES[name], student, teacher, labels, temperature)
    torch.testing.assert_close(value, rest[0], rtol=1e-5, atol=1e-6 * temperature**2)
    torch.testing.assert_close(gradient[:, 1:], rest[1], rtol=1e-5, atol=1e-6 * temperature)
    assert (gradient[:, 0] == 0).all()


@pytest.mark.parametrize("name", DIVERGENCES)
def test_rows_can_forbid_different_classes_and_all_but_one(name):
    student, teacher, labels = draw(num_rows=2, num_labels=3)
    forbidden = torch.tensor([[True, True, False], [False, True, False]])
    student, teacher = (x.masked_fill(forbidden, -math.inf) for x in (student, teacher))
    value, gradient = value_and_gradient(LOSSES[name], student, teacher, labels, 2.0)
    assert value[0].item() == pytest.approx(0.0, abs=1e-6)  # one class is left, and both give it everything
    assert value[1] > 0.01
    assert gradient.isfinite().all()
    assert (gradient[forbidden] == 0).all()


def with_forbidden(side):
    """Draw logits, and forbid class 1 of row 4 on one side."""
    student, teacher, labels = draw()
    {"student": student, "teacher": teacher}[side][4, 1] = -math.inf
    return student, teacher, labels


@pytest.mark.parametrize(("name", "side"), [("kl", "teacher"), ("reverse_kl", "student")])
def test_a_class_without_probability_before_the_logarithm_contributes_nothing(name, side):
    student, teacher, labels = with_forbidden(side)
    p, q = (teacher, student) if side == "teacher" else (student, teacher)
    log_p, log_q = (log_softmax(z, 2.0)[4, [0, 2, 3, 4]] for z in (p, q))
    value, gradient = value_and_gradient(LOSSES[name], student, teacher, labels, 2.0)
    assert value[4].item() == pytest.approx(4 * divergence(log_p, log_q).item(), rel=1e-5)
    assert gradient.isfinite().all()


def test_a_student_is_pushed_off_a_class_that_its_teacher_forbids():
    _, gradient = value_and_gradient(LOSSES["kl"], *with_forbidden("teacher"), 2.0)
    assert gradient[4, 1] > 0


@pytest.mark.parametrize(("name", "side"), [("kl", "student"), ("reverse_kl", "teacher")])
def test_a_divergence_from_a_class_that_the_other_side_forbids_is_infinite(name, side):
    value = LOSSES[name](*with_forbidden(side), 2.0)
    assert value[4] == math.inf
    assert value.isfinite().sum() == 15


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_jsd_is_finite_and_bounded_where_one_side_forbids_a_class(side):
    student, teacher, labels = with_forbidden(side)
    value, gradient = value_and_gradient(LOSSES["jsd"], student, teacher, labels, 1.0)
    bound = -0.3 * math.log(0.3) - 0.7 * math.log(0.7)
    assert 0 < value[4] <= bound
    assert gradient.isfinite().all()
    nearly = tuple(z.masked_fill(z.isneginf(), -40.0) for z in (student, teacher))
    assert torch.allclose(value, LOSSES["jsd"](*nearly, labels, 1.0))


@pytest.mark.parametrize("side", ["student", "teacher"])
@pytest.mark.parametrize("name", ["logit_mse", "dkd"])
def test_losses_that_need_finite_logits_are_not_finite_for_a_forbidden_class(name, side):
    value = LOSSES[name](*with_forbidden(side), 1.0)
    assert not value[4].isfinite()
    assert value.isfinite().sum() == 15


@pytest.mark.parametrize("name", LOSSES)
def test_a_row_in_which_the_teacher_forbids_every_class_is_not_finite(name):
    student, teacher, labels = draw()
    teacher[4] = -math.inf
    assert not LOSSES[name](student, teacher, labels, 1.0)[4].isfinite()


# ---- Bad input ----


@pytest.mark.parametrize("name", LOSSES)
def test_unequal_shapes_are_rejected_and_both_are_named(name):
    student, teacher, labels = draw()
    with pytest.raises(ValueError, match=rf"{name} .*\(16, 5\) from the student and \(16, 4\) from the teacher"):
        LOSSES[name](student, teacher[:, :4], labels, 1.0)
    with pytest.raises(ValueError, match=name):
        LOSSES[name](student, teacher[:1], labels, 1.0)  # would broadcast


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize("name", TEMPERED)
def test_a_temperature_that_is_not_finite_and_positive_is_rejected(name, temperature):
    with pytest.raises(ValueError, match=rf"`temperature` must be a finite number >= 0.001, got {temperature}\."):
        LOSSES[name](*draw(), temperature)


@pytest.mark.parametrize("beta", [0.0, 1.0, -0.1, math.nan])
def test_jsd_rejects_a_beta_out_of_range(beta):
    with pytest.raises(ValueError, match=f"`beta` must be > 0 and < 1, got {beta}"):
        functional.jensen_shannon_divergence(torch.zeros(1, 2), torch.zeros(1, 2), beta=beta)


def test_dkd_is_nan_for_rows_without_a_label():
    student, teacher, labels = draw()
    expected = functional.decoupled_kl_divergence(student, teacher, labels)
    labels[3] = functional.IGNORE_INDEX
    value = functional.decoupled_kl_divergence(student, teacher, labels)
    assert value[3].isnan()
    assert torch.equal(value[4:], expected[4:])


def test_dkd_of_no_rows_is_empty():
    none = torch.zeros(0, 3)
    assert functional.decoupled_kl_divergence(none, none, torch.zeros(0, dtype=torch.long)).shape == (0,)


# ---- Types, rows, order ----


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_every_float_dtype_is_computed_in_float32(name, dtype):
    student, teacher, labels = draw()
    student, teacher = student.to(dtype), teacher.to(dtype)
    value, gradient = value_and_gradient(LOSSES[name], student, teacher, labels, 2.0)
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    assert torch.equal(value, LOSSES[name](student.float(), teacher.float(), labels, 2.0))


@pytest.mark.parametrize("name", LOSSES)
def test_the_order_of_rows_and_of_classes_does_not_matter(name):
    student, teacher, labels = draw()
    value = LOSSES[name](student, teacher, labels, 2.0)
    rows, classes = torch.randperm(16), torch.randperm(5)
    permuted = LOSSES[name](student[rows], teacher[rows], labels[rows], 2.0)
    torch.testing.assert_close(permuted, value[rows])
    permuted = LOSSES[name](student[:, classes], teacher[:, classes], classes.argsort()[labels], 2.0)
    torch.testing.assert_close(permuted, value)


@pytest.mark.parametrize("name", PER_ROW)
def test_a_row_does_not_depend_on_the_other_rows(name):
    student, teacher, labels = draw()
    value = LOSSES[name](student, teacher, labels, 2.0)
    row_by_row = [LOSSES[name](student[i : i + 1], teacher[i : i + 1], labels[i : i + 1], 2.0) for i in range(16)]
    torch.testing.assert_close(torch.cat(row_by_row), value)


def test_a_row_of_dist_depends_on_the_other_rows_only_through_the_term_within_classes():
    student, teacher, _ = draw()
    within_rows = functional.dist_loss(student, teacher, 2.0, gamma=0.0)
    torch.testing.assert_close(functional.dist_loss(student[:4], teacher[:4], 2.0, gamma=0.0), within_rows[:4])
    within_classes = functional.dist_loss(student, teacher, 2.0, beta=0.0)
    assert (within_classes == within_classes[0]).all()
    assert (functional.dist_loss(student[:4], teacher[:4], 2.0, beta=0.0) - within_classes[:4]).abs().min() > 0.01
    torch.testing.assert_close(functional.dist_loss(student, teacher, 2.0), within_rows + within_classes)


def test_dist_within_classes_is_zero_for_a_batch_of_one_row():
    student, teacher, _ = draw(num_rows=1)
    assert functional.dist_loss(student, teacher, 2.0, beta=0.0).tolist() == [0.0]


@pytest.mark.parametrize("num_labels", [2, 3, 6, 10, 77])
def test_a_uniform_student_has_correlation_zero_and_a_bounded_gradient(num_labels):
    teacher = 3 * torch.randn(4, num_labels)
    loss = lambda s: functional.dist_loss(s, teacher, gamma=0.0)  # noqa: E731
    value, gradient = value_and_gradient(loss, torch.zeros(4, num_labels))
    torch.testing.assert_close(value, torch.ones(4), rtol=0, atol=1e-5)
    assert gradient.abs().max() < 1e3


@pytest.mark.parametrize("num_labels", [2, 3, 6, 10, 77])
def test_two_uniform_rows_have_correlation_zero(num_labels):
    value = functional.dist_loss(torch.zeros(4, num_labels), torch.zeros(4, num_labels), gamma=0.0)
    torch.testing.assert_close(value, torch.ones(4), rtol=0, atol=1e-5)


@pytest.mark.parametrize("num_rows", [2, 7, 8, 32])
def test_classes_that_are_constant_over_the_batch_have_correlation_zero(num_rows):
    student, teacher, _ = draw(num_rows=1)
    student, teacher = (x.repeat(num_rows, 1) for x in (student, teacher))
    loss = lambda s: functional.dist_loss(s, teacher, beta=0.0)  # noqa: E731
    value, gradient = value_and_gradient(loss, student)
    torch.testing.assert_close(value, torch.ones(num_rows), rtol=0, atol=1e-5)
    assert gradient.abs().max() < 1e-3


# ---- Hard labels and the textbook loss ----


def test_cross_entropy_is_the_negative_log_probability_of_the_label():
    logits = torch.tensor([[3.0, 1.0, 4.0]]).log()
    assert functional.cross_entropy(logits, torch.tensor([2])).item() == pytest.approx(math.log(2.0))
    # Label smoothing of 0.3 leaves 0.7 for the label and adds 0.1 for every class.
    expected = 0.7 * math.log(2.0) + 0.1 * (math.log(8 / 3) + math.log(8.0) + math.log(2.0))
    assert functional.cross_entropy(logits, torch.tensor([2]), 0.3).item() == pytest.approx(expected)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_a_row_without_a_label_has_no_cross_entropy_and_no_gradient(label_smoothing):
    logits, _, labels = draw()
    labels[[0, 5]] = -100
    loss = lambda z: functional.cross_entropy(z, labels, label_smoothing)  # noqa: E731
    value, gradient = value_and_gradient(loss, logits)
    unlabelled = labels == -100
    assert (value[unlabelled] == 0).all()
    assert (gradient[unlabelled] == 0).all()
    expected = F.cross_entropy(
        logits[~unlabelled].double(), labels[~unlabelled], label_smoothing=label_smoothing, reduction="none"
    )
    torch.testing.assert_close(value[~unlabelled].double(), expected, rtol=1e-5, atol=1e-6)
    assert (functional.cross_entropy(logits, torch.full_like(labels, -100)) == 0).all()


def test_cross_entropy_of_half_precision_logits_is_float32():
    logits, _, labels = draw()
    value = functional.cross_entropy(logits.bfloat16(), labels)
    assert value.dtype == torch.float32
    assert torch.equal(value, functional.cross_entropy(logits.bfloat16().float(), labels))


def test_squared_error_matches_the_value_computed_by_hand():
    predictions = torch.tensor([[1.0, 2.0], [0.0, -1.0]])
    targets = torch.tensor([[0.0, 4.0], [0.0, -1.0]])
    assert functional.squared_error(predictions, targets).tolist() == [2.5, 0.0]
    assert functional.squared_error(predictions[:, :1], targets[:, 0]).tolist() == [1.0, 0.0]
    assert functional.squared_error(predictions.bfloat16(), targets.bfloat16()).dtype == torch.float32


def test_a_row_of_nan_has_no_squared_error_and_a_partly_nan_row_gives_nan():
    targets = torch.tensor([[math.nan, math.nan], [math.nan, 1.0], [0.0, 1.0]])
    value, gradient = value_and_gradient(lambda p: functional.squared_error(p, targets)[[0, 2]], torch.ones(3, 2))
    assert value.tolist() == [0.0, 0.5]
    assert gradient[0].tolist() == [0.0, 0.0]
    assert gradient[2].tolist() == [1.0, 0.0]
    assert functional.squared_error(torch.ones(3, 2), targets)[1].isnan()


def test_squared_error_rejects_a_different_number_of_targets():
    with pytest.raises(ValueError, match=r"\(4, 2\) predictions and \(4, 1\) targets"):
        functional.squared_error(torch.zeros(4, 2), torch.zeros(4))


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_soft_loss_is_the_mean_divergence_without_the_squared_temperature(temperature):
    student, teacher, _ = draw()
    value = functional.soft_loss(student, teacher, temperature)
    assert value.shape == ()
    expected = F.kl_div(
        log_softmax(student, temperature), log_softmax(teacher, temperature).exp(), reduction="batchmean"
    )
    assert value.item() == pytest.approx(expected.item(), rel=1e-4)
