"""The anchor: KL(untrained || base) on the untrained model's answers, its value, its gradient, none without it."""

import math

import pytest
import torch

from duel.grpo import exact_kl
from duel.policies.inputs import build_prompts
from duel.policies.load import load_players
from duel.policies.logprobs import log_distribution
from duel.policies.prefix import continue_prompts, encode_prompts
from duel.types import ModelInput
from tests.support import tiny

DESCRIBED = [ModelInput("hello", tiny.picture("red")), ModelInput("what is it?", tiny.picture("blue", (84, 56)))]
ASKED = [ModelInput("x axis?", tiny.picture(colour)) for colour in ("red", "green", "blue")]
COEF, TEMPERATURE = 0.5, 0.7


@pytest.fixture(scope="module")
def vlm(tmp_path_factory):
    return tiny.save_vlm(tmp_path_factory.mktemp("vlm"))


def base(vlm, coef=COEF, tuning="lora", accumulation=9, last_tokens=None, **models):
    """A base that takes no optimizer step, so that its gradient can be read."""
    anchor = {"anchor": {"coef": coef, "temperature": TEMPERATURE, "last_tokens": last_tokens}}
    settings = tiny.settings(vlm, models={"tuning": tuning, **models}, grpo={"accumulation": accumulation})
    changed = settings.base.model_validate({**settings.base.model_dump(), **anchor})
    return load_players(settings.model_copy(update={"base": changed}), ["base"])["base"]


def answers_of(policy, seed=7):
    seeds = [[seed + i] for i in range(len(ASKED))]
    found = policy.sample(ASKED, seeds, temperature=TEMPERATURE, max_new_tokens=6, untrained=True)
    return [(asked, answer) for asked, [answer] in zip(ASKED, found, strict=True)]


def groups_of(policy, rewards=(0.1, 0.4, 0.2, 0.9)):
    seeds = [[10 * i + g for g in range(4)] for i in range(2)]
    sampled = policy.sample(DESCRIBED, seeds, temperature=0.9, max_new_tokens=12)
    return [tiny.group(completions, list(rewards)) for completions in sampled]


def move(policy, scale=0.3):
    """Take the weights away from the untrained model's."""
    noise = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in policy.tuning.parameters.values():
            weight += scale * weight.std().nan_to_num(0.1).clamp(min=0.05) * torch.randn(weight.shape, generator=noise)


def gradient(policy):
    return {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in policy.tuning.parameters.items()}


def largest(gradients):
    return max(value.abs().max().item() for value in gradients.values())


def distributions(policy, model, asked, answer):
    """Log-probabilities of every token at every place of one answer, (T, V), as sampling has them."""
    tokens = torch.tensor([answer.tokens])
    logits = continue_prompts(model, encode_prompts(model, build_prompts(model, [asked])), tokens)[0]
    return log_distribution(logits, model.forbidden_V, TEMPERATURE)


def test_exact_kl_by_hand():
    # p = (1/2, 1/2, 0), q = (1/4, 3/4, 0): 1/2 log 2 + 1/2 log 2/3
    reference = torch.tensor([0.5, 0.5, 0.0]).log()
    logits = torch.tensor([0.25, 0.75, 0.0]).log().requires_grad_()
    found = exact_kl(reference, logits.masked_fill(torch.tensor([False, False, True]), -torch.inf).log_softmax(-1))
    assert found.item() == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    found.backward()
    torch.testing.assert_close(logits.grad, torch.tensor([-0.25, 0.25, 0.0]))  # q - p


@pytest.mark.parametrize("tuning", ["lora", "full"])
@pytest.mark.parametrize("rows", [64, 2])
def test_the_loss_is_the_sum_over_tokens_and_the_mean_over_images_of_the_kl(vlm, tuning, rows):
    policy = base(vlm, tuning=tuning, rows_per_forward=rows)
    anchors = answers_of(policy)
    move(policy)
    sums = []
    with torch.no_grad():
        for asked, answer in anchors:
            with policy.tuning.active():
                mine = distributions(policy, policy.model, asked, answer)
            with policy.tuning.reference() as model:
                goal = distributions(policy, model, asked, answer)
            allowed = ~policy.model.forbidden_V
            sums.append((goal.exp() * (goal - mine))[:, allowed].sum().item())
    assert min(sums) > 1e-3

    report = policy.learn([], [], anchors)
    assert report.loss == pytest.approx(COEF * sum(sums) / 3, rel=1e-4)
    tokens = sum(len(answer.tokens) for _, answer in anchors)
    assert report.anchor_divergence == pytest.approx(sum(sums) / tokens, rel=1e-4)


def test_only_the_last_tokens_count_where_a_number_is_given(vlm):
    policy = base(vlm, last_tokens=2)
    anchors = answers_of(policy)
    move(policy)
    sums, tokens = [], 0
    with torch.no_grad():
        for asked, answer in anchors:
            with policy.tuning.active():
                mine = distributions(policy, policy.model, asked, answer)[-2:]
            with policy.tuning.reference() as model:
                goal = distributions(policy, model, asked, answer)[-2:]
            sums.append((goal.exp() * (goal - mine))[:, ~policy.model.forbidden_V].sum().item())
            tokens += min(2, len(answer.tokens))
    assert max(len(answer.tokens) for _, answer in anchors) > 2
    report = policy.learn([], [], anchors)
    assert report.loss == pytest.approx(COEF * sum(sums) / 3, rel=1e-4)
    assert report.anchor_divergence == pytest.approx(sum(sums) / tokens, rel=1e-4)


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_at_the_untrained_model_the_anchor_pulls_nowhere(vlm, tuning):
    policy = base(vlm, tuning=tuning)
    report = policy.learn([], [], answers_of(policy))
    assert report.loss == pytest.approx(0, abs=1e-6)
    assert largest(gradient(policy)) < 1e-5
    move(policy)
    policy.learn([], [], answers_of(policy))
    assert largest(gradient(policy)) > 1e-3


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_the_gradient_of_an_update_is_the_sum_of_both_parts(vlm, tuning):
    found = []
    for described, held in [(True, True), (True, False), (False, True)]:
        policy = base(vlm, tuning=tuning, rows_per_forward=2)
        move(policy)
        groups = groups_of(policy) if described else []
        policy.learn(DESCRIBED if described else [], groups, answers_of(policy) if held else [])
        found.append(gradient(policy))
    both, alone, anchor = found
    assert min(largest(alone), largest(anchor)) > 1e-4
    for name in both:
        torch.testing.assert_close(both[name], alone[name] + anchor[name], atol=1e-5 * largest(both), rtol=1e-4)


def test_steps_on_the_anchor_alone_bring_the_base_back(vlm):
    policy = base(vlm, accumulation=1)
    anchors = answers_of(policy)
    move(policy)
    found = [policy.learn([], [], anchors).anchor_divergence for _ in range(12)]
    assert found[-1] < 0.5 * found[0]


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_untrained_answers_do_not_depend_on_training(vlm, tuning):
    policy = base(vlm, tuning=tuning)
    before = answers_of(policy)
    ours = [row for [row] in policy.sample(ASKED, [[7], [8], [9]], temperature=TEMPERATURE, max_new_tokens=6)]
    assert [answer.text for _, answer in before] == [answer.text for answer in ours]
    move(policy, scale=2.0)
    assert answers_of(policy) == before
    moved = policy.sample(ASKED, [[7], [8], [9]], temperature=TEMPERATURE, max_new_tokens=6)
    assert [row for [row] in moved] != ours


def test_sampling_from_the_untrained_model_leaves_an_update_as_it_is_bit_for_bit(vlm):
    """Two updates without anchors, one of them after untrained answers were sampled: equal weights."""
    found = []
    for asks in (False, True):
        policy = base(vlm, coef=0.0, accumulation=1)
        for _ in range(2):
            if asks:
                answers_of(policy)
            report = policy.learn(DESCRIBED, groups_of(policy))
            assert report.anchor_divergence is None
        found.append({name: weight.detach().clone() for name, weight in policy.tuning.parameters.items()})
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_full_tuning_keeps_a_reference_for_an_anchor(vlm):
    assert base(vlm, tuning="full").tuning.reference_model is not None
    assert base(vlm, tuning="full", coef=0.0).tuning.reference_model is None
