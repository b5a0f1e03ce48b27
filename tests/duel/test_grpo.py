import math

import pytest
import torch

from duel.grpo import advantages, grpo_loss, token_weights
from duel.policies.inputs import build_prompts
from duel.policies.logprobs import completion_logprobs, pack_rows
from duel.policies.prefix import encode_prompts
from duel.policies.update import LearningSettings, build_batch
from duel.types import ModelInput
from tests.support import tiny


def test_standardised_advantages_by_hand():
    # mean 2, deviations -1 0 1, std with n - 1 below: sqrt(2 / 2) = 1
    assert advantages([1.0, 2.0, 3.0], "standardised") == pytest.approx([-1 / 1.0001, 0.0, 1 / 1.0001])


def test_centred_advantages_by_hand():
    assert advantages([1.0, 2.0, 6.0], "centred") == pytest.approx([-2.0, -1.0, 3.0])


def test_missing_rewards_are_left_out_of_the_group_statistics():
    values = advantages([1.0, None, 3.0], "standardised")
    assert values is not None
    assert values[1] is None
    assert [values[0], values[2]] == pytest.approx([-1 / (math.sqrt(2) + 1e-4), 1 / (math.sqrt(2) + 1e-4)])


@pytest.mark.parametrize("rewards", [[0.3, 0.3, 0.3], [None, 0.5, None], [None, None]])
def test_groups_with_equal_rewards_are_skipped(rewards):
    assert advantages(rewards, "standardised") is None


def test_token_weights_by_hand():
    assert token_weights([1, 4], "completion", 8) == pytest.approx([1 / 2, 1 / 8])
    assert token_weights([1, 4], "batch", 8) == pytest.approx([1 / 5, 1 / 5])
    assert token_weights([1, 4], "constant", 8) == pytest.approx([1 / 16, 1 / 16])


def test_loss_and_gradient_by_hand():
    # Two completions, of 2 tokens (advantage 1) and of 1 (advantage -2); second place of the second is padding.
    logprobs = torch.tensor([[-1.0, -2.0], [-0.5, -9.0]], requires_grad=True)
    weights = torch.tensor([[1 / 4, 1 / 4], [1 / 2, 0.0]])
    loss = grpo_loss(logprobs, torch.tensor([1.0, -2.0]), weights)
    loss.backward()
    assert loss.item() == pytest.approx(-(1 / 4 + 1 / 4 - 2 / 2))
    assert logprobs.grad.tolist() == [[-0.25, -0.25], [1.0, 0.0]]


def test_kl_penalty_by_hand():
    # d = reference - logprob = log 2: KL = 2 - log 2 - 1; the derivative of ratio * KL is KL + 1 - exp(d) = -log 2
    logprobs = torch.tensor([[-1.0]], requires_grad=True)
    reference = torch.tensor([[-1.0 + math.log(2)]])
    loss = grpo_loss(logprobs, torch.tensor([0.0]), torch.tensor([[1.0]]), reference, kl_coef=0.5)
    loss.backward()
    assert loss.item() == pytest.approx(0.5 * (1 - math.log(2)))
    assert logprobs.grad.item() == pytest.approx(-0.5 * math.log(2))


def test_with_a_kl_penalty_every_completion_is_a_row():
    learning = LearningSettings(
        tiny.settings("x", grpo={"kl_coef": 0.1}).base.grpo, 1.0, 12, 64, gradient_checkpointing=False
    )
    pair = [tiny.completion([10, 11]), tiny.completion([12, 13])]
    groups = [tiny.group(pair, [0.5, 0.5]), tiny.group(pair, [None, 1.0])]
    batch = build_batch([ModelInput("a"), ModelInput("b")], groups, learning)
    assert batch.skipped_groups == 2
    assert [(row.prompt, row.advantage) for row in batch.rows] == [(0, 0.0), (0, 0.0), (1, 0.0), (1, 0.0)]


def test_skipped_groups_stay_in_the_denominators():
    learning = LearningSettings(tiny.settings("x").base.grpo, 1.0, 12, 64, gradient_checkpointing=False)
    pair = [tiny.completion([10, 11]), tiny.completion([12, 13])]
    batch = build_batch(
        [ModelInput("a"), ModelInput("b")],
        [tiny.group(pair, [0.5, 0.5]), tiny.group(pair, [0.0, 1.0])],
        learning,
    )
    assert batch.skipped_groups == 1
    assert [row.prompt for row in batch.rows] == [1, 1]
    assert [row.weight for row in batch.rows] == [1 / (4 * 2), 1 / (4 * 2)]


TRL_LOSSES = {"grpo": "completion", "bnpo": "batch", "dapo": "batch", "dr_grpo": "constant"}
COMPLETIONS = [[20, 30, 40, 50], [60, 70], [80, 90, 100], [110]]
LENGTHS = [4, 2, 3, 1]
REWARDS = [0.1, 0.7, 0.4, 0.2]
MASK = torch.arange(4) < torch.tensor(LENGTHS)[:, None]
REFERENCE = torch.randn(4, 4, generator=torch.Generator().manual_seed(0)) * 0.5 - 5  # (B, T)


@pytest.mark.filterwarnings("default")  # TRL's own
def test_loss_and_gradient_equal_trl(tmp_path):
    """TRL's loss on the same samples of one model, without our mask of special tokens, which TRL does not have."""
    model = tiny.load(tiny.save_lm(tmp_path / "lm"))
    model.forbidden_V[:] = False
    prompts = build_prompts(model, [ModelInput("hello")])
    trainer = trl_trainer(model, tmp_path)
    values = advantages(REWARDS, "standardised")
    assert values is not None
    for trl_name, normalisation in TRL_LOSSES.items():
        for kl_coef in (0.0, 0.1):
            trainer.loss_type, trainer.beta = trl_name, kl_coef
            theirs, their_gradient = trl_loss(trainer, prompts.input_ids_IP, values)

            weights_BT = torch.tensor(token_weights(LENGTHS, normalisation, 8))[:, None] * MASK
            prefix = encode_prompts(model, prompts).expand(torch.zeros(4, dtype=torch.long))
            logprobs_BT = completion_logprobs(model, prefix, pack_rows(model, COMPLETIONS), temperature=0.9)
            ours = grpo_loss(logprobs_BT, torch.tensor(values), weights_BT, REFERENCE if kl_coef else None, kl_coef)
            assert ours.item() == pytest.approx(theirs, abs=1e-6), trl_name
            for name, mine in gradients(model.network, ours).items():
                scale = their_gradient[name].abs().max().item()
                torch.testing.assert_close(mine, their_gradient[name], atol=1e-5 * scale, rtol=1e-4)


def trl_trainer(model, tmp_path):
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    config = trl.GRPOConfig(
        output_dir=str(tmp_path / "trl"),
        use_cpu=True,
        bf16=False,
        report_to=[],
        temperature=0.9,
        max_completion_length=8,
        num_generations=4,
        per_device_train_batch_size=4,
        gradient_checkpointing=False,
    )
    trainer = trl.GRPOTrainer(
        model.network,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=config,
        train_dataset=datasets.Dataset.from_list([{"prompt": "hello"}] * 4),
        processing_class=model.tokenizer,
    )
    trainer.current_gradient_accumulation_steps = 1
    return trainer


def trl_loss(trainer, prompt_ids_1P, values):
    tokens_BT = torch.zeros(4, 4, dtype=torch.long)
    tokens_BT[MASK] = torch.tensor([token for row in COMPLETIONS for token in row])
    prompt_ids = prompt_ids_1P.repeat(4, 1)
    inputs = {
        "prompt_ids": prompt_ids,
        "prompt_mask": torch.ones_like(prompt_ids),
        "completion_ids": tokens_BT,
        "completion_mask": MASK.long(),
        "advantages": torch.tensor(values),
        "ref_per_token_logps": REFERENCE,
        "num_items_in_batch": MASK.sum(),
    }
    loss = trainer._compute_loss(trainer.model, inputs)
    return loss.item(), gradients(trainer.model, loss)


def gradients(network, loss):
    names, parameters = zip(*network.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))
