import dataclasses
import math
from contextlib import contextmanager

import pytest
import torch

from duel.errors import RunError
from duel.policies.inputs import build_prompts
from duel.policies.load import load_players
from duel.policies.prefix import encode_prompts
from duel.policies.tuning import LoraTuning
from duel.types import Drawing, ModelInput, pack_logprobs
from tests.support import tiny

INPUTS = [ModelInput("hello", tiny.picture("red")), ModelInput("what is it?", tiny.picture("blue", (84, 56)))]
INVENT = [ModelInput("invent"), ModelInput("invent")]
REWARDS = [0.1, 0.4, None, 0.9]


@pytest.fixture(scope="module")
def vlm(tmp_path_factory):
    return tiny.save_vlm(tmp_path_factory.mktemp("vlm"))


def weights(policy):
    return {name: parameter.detach().clone() for name, parameter in policy.tuning.parameters.items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def play(policy, round, rewards=REWARDS):
    inputs = INPUTS if policy.player == "base" else INVENT
    seeds = [[1000 * round + 10 * i + g for g in range(4)] for i in range(2)]
    sampled = policy.sample(inputs, seeds, temperature=0.9, max_new_tokens=12)
    return policy.learn(inputs, [tiny.group(completions, rewards) for completions in sampled])


def gradient(policy, rounds=1):
    for round in range(rounds):
        play(policy, round)
    return {name: parameter.grad.clone() for name, parameter in policy.tuning.parameters.items()}


def assert_gradients_close(a, b, tolerance=1e-5):
    largest = max(value.abs().max().item() for value in a.values())
    assert largest > 0
    for name in a:
        torch.testing.assert_close(a[name], b[name], atol=tolerance * largest, rtol=1e-4, msg=name)


def players(vlm, accumulation=1, **changes):
    return load_players(tiny.settings(vlm, grpo={"accumulation": accumulation}, **changes))


@pytest.mark.parametrize("accumulation", [2, 4])
def test_both_players_step_in_alternating_rounds(vlm, accumulation):
    """A counter over all rounds would reach a multiple of the accumulation in the adversary's rounds only."""
    duel = players(vlm, accumulation)
    before = {player: weights(policy) for player, policy in duel.items()}
    for round in range(2 * accumulation):
        report = play(duel["base" if round % 2 == 0 else "adversary"], round)
        stepped = round >= 2 * accumulation - 2
        assert (report.gradient_norm is not None) == stepped
    for player, policy in duel.items():
        assert policy.rounds_learned == accumulation
        assert policy.optimizer_steps == 1
        assert not same(weights(policy), before[player])


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_a_step_of_one_player_leaves_the_other_untouched(vlm, tuning):
    duel = players(vlm, models={"tuning": tuning})
    base, adversary = weights(duel["base"]), weights(duel["adversary"])
    play(duel["base"], 0)
    assert same(weights(duel["adversary"]), adversary)
    assert not same(weights(duel["base"]), base)
    base = weights(duel["base"])
    play(duel["adversary"], 1)
    assert same(weights(duel["base"]), base)
    assert not same(weights(duel["adversary"]), adversary)


def test_players_of_one_checkpoint_share_one_frozen_backbone(vlm):
    duel = players(vlm)
    assert duel["base"].model.network is duel["adversary"].model.network
    names = duel["base"].tuning.parameters
    assert names
    assert all("language_model" in name and ".base." in name for name in names)
    assert all(parameter.dtype == torch.float32 for parameter in names.values())
    frozen = {n: p.clone() for n, p in duel["base"].model.network.named_parameters() if "lora" not in n}
    play(duel["base"], 0)
    play(duel["adversary"], 1)
    assert all(torch.equal(p, frozen[n]) for n, p in duel["base"].model.network.named_parameters() if n in frozen)


def test_adapters_start_from_the_settings_seed_and_change_nothing(vlm):
    first, again = players(vlm), players(vlm)
    other = load_players(tiny.settings(vlm).model_copy(update={"seed": 1}))
    assert same(weights(first["base"]), weights(again["base"]))
    assert not same(weights(first["base"]), weights(other["base"]))
    texts = [p["base"].sample(INPUTS, [[1], [2]], temperature=1, max_new_tokens=8) for p in (first, other)]
    assert texts[0] == texts[1]  # a fresh adapter adds zero


def test_accumulated_gradients_are_a_mean_over_the_window(vlm):
    summed = gradient(players(vlm, accumulation=10)["base"], rounds=2)
    singles = []
    for round in range(2):
        policy = players(vlm, accumulation=5)["base"]
        play(policy, round)
        singles.append({n: p.grad for n, p in policy.tuning.parameters.items()})
    assert_gradients_close(summed, {n: (singles[0][n] + singles[1][n]) / 2 for n in summed})


@pytest.mark.parametrize("rows", [1, 3, 4])
@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_micro_batches_give_the_gradient_of_one_batch(vlm, tuning, rows):
    whole = gradient(players(vlm, 9, models={"tuning": tuning})["base"])
    split = gradient(players(vlm, 9, models={"tuning": tuning, "rows_per_forward": rows})["base"])
    assert_gradients_close(whole, split)


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_gradient_checkpointing_gives_the_same_gradient(vlm, tuning):
    kept = gradient(players(vlm, 9, models={"tuning": tuning})["base"])
    recomputed = gradient(players(vlm, 9, models={"tuning": tuning, "gradient_checkpointing": True})["base"])
    assert_gradients_close(kept, recomputed, 1e-6)


def test_full_tuning_sends_gradients_through_one_vision_encoding(vlm, monkeypatch):
    policy = players(vlm, 9, models={"tuning": "full", "rows_per_forward": 2})["base"]
    images = []
    visual = policy.model.network.model.visual
    forward = visual.forward
    counted = lambda pixels, grid_thw, **kw: images.append(len(grid_thw)) or forward(pixels, grid_thw=grid_thw, **kw)  # noqa: E731
    sampled = policy.sample(INPUTS, [[1, 2, 3, 4], [5, 6, 7, 8]], temperature=0.9, max_new_tokens=12)
    monkeypatch.setattr(visual, "forward", counted)
    policy.learn(INPUTS, [tiny.group(completions, REWARDS) for completions in sampled])
    assert sum(images) == 2
    assert visual.patch_embed.proj.weight.grad.abs().max() > 0


def test_equal_and_missing_rewards_give_no_gradient(vlm):
    policy = players(vlm)["base"]
    before = weights(policy)
    report = play(policy, 0, [0.5, 0.5, None, 0.5])
    assert (report.skipped_groups, report.groups, report.loss) == (2, 2, 0.0)
    assert report.gradient_norm is None
    assert (report.rounds_learned, report.optimizer_steps) == (1, 0)
    assert same(weights(policy), before)


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_the_kl_penalty_is_taken_against_the_untrained_model(vlm, tuning):
    policy = load_players(tiny.settings(vlm, models={"tuning": tuning}, grpo={"kl_coef": 0.5}), ["base"])["base"]
    play(policy, 0)  # away from the untrained model
    untrained = load_players(tiny.settings(vlm), ["base"])["base"]
    [completions] = policy.sample(INPUTS[:1], [[1, 2]], temperature=0.9, max_new_tokens=12)
    [ours] = policy.logprobs(INPUTS[:1], [completions], temperature=0.9)
    [theirs] = untrained.logprobs(INPUTS[:1], [completions], temperature=0.9)

    report = policy.learn(INPUTS[:1], [tiny.group(completions, [0.0, 1.0])])

    differences = [[b - a for a, b in zip(own, other, strict=True)] for own, other in zip(ours, theirs, strict=True)]
    penalties = [sum(math.exp(d) - d - 1 for d in row) / len(row) for row in differences]
    assert min(penalties) > 1e-3
    assert report.loss == pytest.approx(0.5 * sum(penalties) / 2, rel=1e-3)  # the two advantages cancel


def test_full_tuning_keeps_a_reference_only_for_a_kl_penalty(vlm):
    assert players(vlm, models={"tuning": "full"})["base"].tuning.reference_model is None


@pytest.mark.parametrize("tuning", ["lora", "full"])
@pytest.mark.parametrize("rounds_before", [2, 3])
def test_continued_training_is_identical_bit_for_bit(vlm, tmp_path, tuning, rounds_before):
    """Saved at the end of an accumulation window, and within one."""
    whole = players(vlm, 2, models={"tuning": tuning})
    for round in range(rounds_before):
        play(whole["base"], round)
    for player, policy in whole.items():
        policy.save(tmp_path / player)
        policy.save_training_state(tmp_path / "state" / player)
    resumed = players(vlm, 2, models={"tuning": tuning})
    for player, policy in resumed.items():
        policy.load(tmp_path / player)
        policy.load_training_state(tmp_path / "state" / player)
    assert resumed["base"].rounds_learned == rounds_before
    assert resumed["base"].optimizer_steps == 1
    for round in range(rounds_before, rounds_before + 3):
        assert play(whole["base"], round) == play(resumed["base"], round)
    assert same(weights(whole["base"]), weights(resumed["base"]))


def test_a_saved_adapter_is_a_peft_folder(vlm, tmp_path):
    peft = pytest.importorskip("peft")
    policy = players(vlm)["base"]
    play(policy, 0)
    policy.save(tmp_path / "adapter")
    model = tiny.load(vlm)
    peft.PeftModel.from_pretrained(model.network, tmp_path / "adapter")
    trained = {name.split(".base.")[0].removeprefix("base_model.model."): w for name, w in weights(policy).items()}
    loaded = {n.split(".default.")[0]: p for n, p in model.network.named_parameters() if ".default." in n}
    assert same(trained, loaded)


def test_saved_full_weights_load_by_name(vlm, tmp_path):
    policy = players(vlm, models={"tuning": "full"})["base"]
    play(policy, 0)
    policy.save(tmp_path / "full")
    trained = load_players(tiny.settings(str(tmp_path / "full")), ["base"])["base"]
    seeds = [[1, 2], [3, 4]]
    expected = policy.sample(INPUTS, seeds, temperature=0.9, max_new_tokens=12)
    assert trained.sample(INPUTS, seeds, temperature=0.9, max_new_tokens=12) == expected


def test_missing_or_foreign_weights_are_refused(vlm, tmp_path):
    policy = players(vlm)["base"]
    with pytest.raises(RunError, match="cannot read"):
        policy.load(tmp_path / "nothing")
    with pytest.raises(RunError, match="cannot read"):
        policy.load_training_state(tmp_path / "nothing")
    load_players(tiny.settings(vlm, models={"lora_rank": 2}))["base"].save(tmp_path / "other")
    with pytest.raises(RunError, match="do not fit"):
        policy.load(tmp_path / "other")
    policy.save(tmp_path / "cut")
    file = tmp_path / "cut" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(RunError, match="cannot read"):
        policy.load(tmp_path / "cut")


def test_a_text_only_model_as_adversary(vlm, tmp_path):
    duel = players(vlm, models={"adversary": tiny.save_lm(tmp_path / "lm")})
    before = weights(duel["adversary"])
    assert play(duel["adversary"], 0).gradient_norm is not None
    assert not same(weights(duel["adversary"]), before)
    play(duel["base"], 1)


def test_the_global_random_state_is_untouched_by_loading_and_learning(vlm, tmp_path):
    before = torch.get_rng_state()
    for tuning in ("lora", "full"):
        policy = players(vlm, models={"tuning": tuning})["base"]
        play(policy, 0)
        policy.save(tmp_path / tuning)
        policy.load(tmp_path / tuning)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_positive_advantage_raises_the_probability(vlm):
    policy = load_players(tiny.settings(vlm, optimizer={"learning_rate": 0.003, "weight_decay": 0.0}))["base"]
    [completions] = policy.sample(INPUTS[:1], [[1, 2, 3, 4]], temperature=0.9, max_new_tokens=12)

    def likelihoods():
        return [sum(row) for row in policy.logprobs(INPUTS[:1], [completions], temperature=0.9)[0]]

    before = likelihoods()
    policy.learn(INPUTS[:1], [tiny.group(completions, [1.0, 0.0, 0.0, 0.0])])
    assert likelihoods()[0] > before[0]


def written_by(policy, seeds=((1, 2, 3, 4), (5, 6, 7, 8))):
    play(policy, 0)  # away from the untrained model: a fresh adapter adds zero
    return policy.sample(INPUTS, seeds, temperature=0.9, max_new_tokens=12)


def shifted(completion, by):
    """The same completion, as if the sampler had found its last token likelier."""
    logprobs = completion.logprobs
    return dataclasses.replace(completion, packed_logprobs=pack_logprobs([*logprobs[:-1], logprobs[-1] + by]))


def test_sampling_keeps_the_logprobs_that_scoring_finds(vlm):
    policy = players(vlm)["base"]
    completions = written_by(policy)
    scored = policy.logprobs(INPUTS, completions, temperature=0.9)
    for group, rows in zip(completions, scored, strict=True):
        for completion, expected in zip(group, rows, strict=True):
            assert completion.logprobs == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("changes", [{}, {"accumulation": 2}, {"models": {"rows_per_forward": 3}}])
@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_sampler_and_learner_agree_on_the_cpu(vlm, tuning, changes):
    models = {"tuning": tuning, **changes.get("models", {})}
    policy = players(vlm, changes.get("accumulation", 1), models=models)["base"]
    report = policy.learn(INPUTS, [tiny.group(group, REWARDS) for group in written_by(policy)])
    assert 0 <= report.logprob_gap_mean <= report.logprob_gap_max < 1e-5


@pytest.mark.parametrize("rows", [64, 1])
def test_a_gap_between_sampler_and_learner_is_measured_over_the_tokens_that_teach(vlm, rows):
    policy = players(vlm, models={"rows_per_forward": rows})["base"]
    first, second = written_by(policy)
    first = [shifted(first[0], 0.25), first[1], shifted(first[2], 9.0), shifted(first[3], -0.5)]
    groups = [tiny.group(first, REWARDS), tiny.group([shifted(c, 9.0) for c in second], [0.5] * 4)]
    report = policy.learn(INPUTS, groups)
    taught = sum(len(first[place].tokens) for place in (0, 1, 3))  # no reward: 2; equal rewards: the second group
    assert report.skipped_groups == 1
    assert report.logprob_gap_max == pytest.approx(0.5, abs=1e-4)
    assert report.logprob_gap_mean == pytest.approx(0.75 / taught, abs=1e-5)


def test_without_sampling_logprobs_or_anything_learned_there_is_no_gap(vlm):
    policy = players(vlm)["base"]
    known = written_by(policy)
    unknown = [[dataclasses.replace(completion, packed_logprobs="") for completion in group] for group in known]
    report = policy.learn(INPUTS, [tiny.group(group, REWARDS) for group in unknown])
    assert (report.logprob_gap_mean, report.logprob_gap_max) == (None, None)
    report = policy.learn(INPUTS, [tiny.group(group, [0.5] * 4) for group in known])
    assert (report.logprob_gap_mean, report.logprob_gap_max) == (None, None)


def test_the_gap_is_over_the_completions_whose_sampling_logprobs_are_known(vlm):
    policy = players(vlm)["base"]
    [[first, *others], _] = written_by(policy)
    unknown = [dataclasses.replace(completion, packed_logprobs="") for completion in others]
    report = policy.learn(INPUTS[:1], [tiny.group([shifted(first, 0.25), *unknown], REWARDS)])
    assert report.logprob_gap_mean == pytest.approx(0.25 / len(first.tokens), abs=1e-5)


def test_logprobs_that_do_not_fit_the_tokens_are_refused(vlm):
    policy = players(vlm)["base"]
    [[first, *others], _] = written_by(policy)
    wrong = dataclasses.replace(first, packed_logprobs=pack_logprobs([-1.0]))
    with pytest.raises(ValueError, match=f"a completion of {len(first.tokens)} tokens has 1 log-probabilities"):
        policy.learn(INPUTS[:1], [tiny.group([wrong, *others], REWARDS)])


def test_padding_a_prompt_changes_nothing(vlm):
    model = players(vlm)["base"].model
    with torch.no_grad():
        together = encode_prompts(model, build_prompts(model, INPUTS)).logits_IV
        alone = [encode_prompts(model, build_prompts(model, [given])).logits_IV[0] for given in INPUTS]
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("rows", [64, 3])
def test_the_divergence_from_the_untrained_model_starts_at_0_and_grows(vlm, rows):
    policy = players(vlm, models={"rows_per_forward": rows})["base"]
    assert play(policy, 0).divergence == pytest.approx(0, abs=1e-6)
    assert play(policy, 1).divergence > 1e-5


@pytest.mark.parametrize("rows", [64, 3])
def test_measuring_the_divergence_leaves_the_weights_as_they_would_be(vlm, rows, monkeypatch):
    measured = players(vlm, models={"rows_per_forward": rows})["base"]
    play(measured, 0)
    monkeypatch.setattr(LoraTuning, "has_reference", False)
    bare = players(vlm, models={"rows_per_forward": rows})["base"]
    assert play(bare, 0).divergence is None
    assert same(weights(measured), weights(bare))


def test_full_tuning_without_a_reference_measures_no_divergence(vlm):
    assert play(players(vlm, models={"tuning": "full"})["base"], 0).divergence is None


def test_with_a_kl_penalty_groups_without_signal_still_contribute_it(vlm):
    policy = load_players(tiny.settings(vlm, grpo={"kl_coef": 0.5}))["base"]
    assert play(policy, 0, [0.5] * 4).gradient_norm == pytest.approx(0, abs=1e-4)  # the penalty is 0 before training
    play(policy, 1)
    before = weights(policy)
    report = play(policy, 2, [0.5] * 4)
    assert report.skipped_groups == 2
    assert report.gradient_norm > 1e-4
    assert not same(weights(policy), before)


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_older_weights_take_a_policys_place_for_a_while_and_it_goes_on_bit_for_bit(vlm, tmp_path, tuning):
    policy, undisturbed = (players(vlm, accumulation=2, models={"tuning": tuning})["adversary"] for _ in range(2))
    sampling = {"seeds": [[1, 2], [3, 4]], "temperature": 0.9, "max_new_tokens": 12}
    policy.save(tmp_path / "old")
    then = policy.sample(INVENT, **sampling)
    for round in range(3):  # in the middle of an accumulation window
        play(policy, round)
        play(undisturbed, round)
    places = [parameter.data_ptr() for parameter in policy.tuning.parameters.values()]
    policy.save(tmp_path / "now")
    policy.save_training_state(tmp_path / "state")
    policy.load(tmp_path / "old")
    assert policy.sample(INVENT, **sampling) == then != undisturbed.sample(INVENT, **sampling)
    policy.load(tmp_path / "now")
    policy.load_training_state(tmp_path / "state")
    assert [parameter.data_ptr() for parameter in policy.tuning.parameters.values()] == places  # CUDA graphs read there
    assert play(policy, 3) == play(undisturbed, 3)
    assert same(weights(policy), weights(undisturbed))


@contextmanager
def not_a_number(policy):
    """Within the block, one of the policy's frozen weights is NaN."""
    weight = policy.model.network.get_output_embeddings().weight
    kept = weight[0, 0].item()
    with torch.no_grad():
        weight[0, 0] = math.nan
    yield
    with torch.no_grad():
        weight[0, 0] = kept


def test_an_update_that_is_not_finite_is_skipped_and_counted(vlm, tmp_path):
    policy = players(vlm, accumulation=2)["base"]
    sampled = policy.sample(INPUTS, [[1, 2, 3, 4], [5, 6, 7, 8]], temperature=0.9, max_new_tokens=12)
    groups = [tiny.group(completions, REWARDS) for completions in sampled]
    before = weights(policy)
    policy.learn(INPUTS, groups)  # the first round of a window
    with not_a_number(policy):
        report = policy.learn(INPUTS, groups)
    assert (report.loss, report.gradient_norm, report.divergence, report.logprob_gap_mean) == (None,) * 4
    assert (report.rounds_learned, report.optimizer_steps, report.skipped_updates) == (2, 0, 1)
    assert same(weights(policy), before)
    assert all(parameter.grad is None for parameter in policy.tuning.parameters.values())

    policy.learn(INPUTS, groups)
    policy.save_training_state(tmp_path)
    again = players(vlm, accumulation=2)["base"]
    again.load_training_state(tmp_path)
    report = again.learn(INPUTS, groups)
    assert (report.optimizer_steps, report.skipped_updates) == (1, 1)
    assert report.loss is not None


def test_an_update_on_an_embedding_that_is_not_finite_is_skipped(vlm):
    policy = players(vlm)["base"]
    sampled = policy.sample(INPUTS[:1], [[1, 2, 3, 4]], temperature=0.9, max_new_tokens=12)
    group = tiny.group(sampled[0], REWARDS)
    unmeasured = dataclasses.replace(group.attempts[3], similarity=None, reward=None)
    before = weights(policy)
    report = policy.learn(INPUTS[:1], [dataclasses.replace(group, attempts=[*group.attempts[:3], unmeasured])])
    assert (report.loss, report.skipped_updates) == (None, 1)
    assert same(weights(policy), before)
    refused = dataclasses.replace(unmeasured, reconstruction=Drawing("r", 1, None, "refused"))
    report = policy.learn(INPUTS[:1], [dataclasses.replace(group, attempts=[*group.attempts[:3], refused])])
    assert (report.optimizer_steps, report.skipped_updates) == (1, 1)
