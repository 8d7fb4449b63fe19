r"""Losses between the hidden states and attentions of student and teacher: pure functions, one value per example.

Every loss computes in float32 and returns `(batch,)`. Student and teacher read the same tokens. `is_token` is False
for padding, which every loss ignores, so the value of a row does not depend on the other rows of the batch.

Suffixes of local names: B examples, L positions, D dimensions, H heads, K layers.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def _mean_over_tokens(values_BL: Tensor, is_token_BL: Tensor) -> Tensor:
    return torch.where(is_token_BL, values_BL, 0.0).sum(dim=1) / is_token_BL.sum(dim=1).clamp(min=1)


def hidden_mse(student_states: Tensor, teacher_states: Tensor, is_token: Tensor) -> Tensor:
    r"""Squared error between hidden states, mean over the dimensions and the tokens, without padding.

    $$\ell_b = \frac{1}{|x_b|} \sum_{l \in x_b} \frac{1}{D} \| h^S_{bl} - h^T_{bl} \|^2$$

    Jiao et al. (2020), TinyBERT, equation 8, https://huggingface.co/papers/1909.10351.

    Args:
        student_states: `(batch, length, size)`, any float dtype.
        teacher_states: `(batch, length, size)`.
        is_token: `(batch, length)` bool.

    Returns:
        `(batch,)`.
    """
    squares_BL = (student_states.float() - teacher_states.float()).square().mean(dim=-1)
    return _mean_over_tokens(squares_BL, is_token)


def hidden_cosine(student_states: Tensor, teacher_states: Tensor, is_token: Tensor) -> Tensor:
    r"""One minus the cosine between hidden states, mean over the tokens, without padding; from 0 to 2.

    $$\ell_b = \frac{1}{|x_b|} \sum_{l \in x_b} \left(1 - \cos(h^S_{bl}, h^T_{bl})\right)$$

    Sanh et al. (2019), DistilBERT, section 3, https://huggingface.co/papers/1910.01108.

    Args:
        student_states: `(batch, length, size)`, any float dtype.
        teacher_states: `(batch, length, size)`.
        is_token: `(batch, length)` bool.

    Returns:
        `(batch,)`.
    """
    cosines_BL = F.cosine_similarity(student_states.float(), teacher_states.float(), dim=-1)
    return _mean_over_tokens(1.0 - cosines_BL, is_token)


def normalised_distance(student_states: Tensor, teacher_states: Tensor) -> Tensor:
    r"""Squared distance between normalized [CLS] states, mean over the layers; from 0 to 4.

    $$\ell_b = \frac{1}{K} \sum_k \left\| \frac{h^S_{bk}}{\|h^S_{bk}\|} - \frac{h^T_{bk}}{\|h^T_{bk}\|} \right\|^2$$

    Sun et al. (2019), Patient Knowledge Distillation, equation 7, https://huggingface.co/papers/1908.09355. The
    paper sums over the layers; the mean gives a weight the same meaning for every number of layers.

    Args:
        student_states: `(batch, layers, size)`, any float dtype.
        teacher_states: `(batch, layers, size)`.

    Returns:
        `(batch,)`.
    """
    student_BKD, teacher_BKD = (F.normalize(states.float(), dim=-1) for states in (student_states, teacher_states))
    return (student_BKD - teacher_BKD).square().sum(dim=-1).mean(dim=-1)


def attention_mse(student_attention: Tensor, teacher_attention: Tensor, is_token: Tensor) -> Tensor:
    r"""Squared error between attention maps, mean over the heads and the pairs of tokens, without padding.

    $$\ell_b = \frac{1}{H} \sum_h \frac{1}{|x_b|^2} \sum_{l, m \in x_b} (A^S_{bhlm} - A^T_{bhlm})^2$$

    Jiao et al. (2020), TinyBERT, equation 7, https://huggingface.co/papers/1909.10351. The paper compares the scores
    before the softmax; this function compares probabilities, which models of all architectures return.

    Args:
        student_attention: `(batch, heads, length, length)`, any float dtype.
        teacher_attention: `(batch, heads, length, length)`.
        is_token: `(batch, length)` bool.

    Returns:
        `(batch,)`.
    """
    squares_BLL = (student_attention.float() - teacher_attention.float()).square().mean(dim=1)
    is_pair_BLL = is_token[:, :, None] & is_token[:, None, :]
    return _mean_over_tokens(squares_BLL.flatten(1), is_pair_BLL.flatten(1))


def relation_divergence(student_vectors: Tensor, teacher_vectors: Tensor, is_token: Tensor, num_heads: int) -> Tensor:
    r"""KL divergence between self-attention relations, mean over relation heads and tokens, without padding.

    $$R_{bh} = \mathrm{softmax}\left(\frac{A_{bh} A_{bh}^\top}{\sqrt{D / H}}\right), \qquad
    \ell_b = \frac{1}{H\,|x_b|} \sum_h \sum_{l \in x_b} \mathrm{KL}(R^T_{bhl} \,\|\, R^S_{bhl})$$

    The vectors $A$ are the queries, keys or values of all attention heads, joined and split again into `num_heads`
    relation heads. Student and teacher can therefore have different widths and numbers of attention heads. Wang et al.
    (2021), MiniLMv2, equations 6 to 10, https://huggingface.co/papers/2012.15828.

    Args:
        student_vectors: `(batch, length, student_size)`, any float dtype.
        teacher_vectors: `(batch, length, teacher_size)`.
        is_token: `(batch, length)` bool.
        num_heads: Number of relation heads; it must divide both sizes.

    Returns:
        `(batch,)`, in nats.
    """
    student_BHLL = _log_relations(student_vectors, is_token, num_heads)
    teacher_BHLL = _log_relations(teacher_vectors, is_token, num_heads)
    divergence_BHL = (teacher_BHLL.exp() * (teacher_BHLL - student_BHLL)).sum(dim=-1)
    return _mean_over_tokens(divergence_BHL.mean(dim=1), is_token)


def _log_relations(vectors: Tensor, is_token: Tensor, num_heads: int) -> Tensor:
    vectors_BHLD = vectors.float().unflatten(-1, (num_heads, -1)).transpose(1, 2)
    scores_BHLL = vectors_BHLD @ vectors_BHLD.transpose(-1, -2) / vectors_BHLD.shape[-1] ** 0.5
    is_key_B11L = is_token[:, None, None, :]
    # The smallest finite number: with -inf, a row that is all padding would be NaN in the backward pass.
    scores_BHLL = scores_BHLL.masked_fill(~is_key_B11L, torch.finfo(torch.float32).min)
    # Student and teacher both get 0 for padding, so padding contributes nothing.
    return F.log_softmax(scores_BHLL, dim=-1).masked_fill(~is_key_B11L, 0.0)
