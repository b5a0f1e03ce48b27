"""Checkpoints are loaded by transformers and PEFT alone, in a process that cannot import Duel."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from duel.policies.inputs import build_prompts
from duel.policies.load import load_players
from duel.types import ModelInput
from tests.support import families, tiny

OUTSIDE = """
import json, sys
for name in ("duel", "tasks", "artifacts", "flows", "cache"):
    sys.modules[name] = None  # an import of it fails
import torch, transformers
from peft import PeftConfig, PeftModel

folder, auto, tuning = sys.argv[1:]
cls = getattr(transformers, auto)
given = torch.load(folder + "/../given.pt")
if tuning == "lora":
    config = PeftConfig.from_pretrained(folder)
    assert config.task_type == "CAUSAL_LM" and config.inference_mode
    model = PeftModel.from_pretrained(cls.from_pretrained(config.base_model_name_or_path), folder)
else:
    model = cls.from_pretrained(folder)
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

def logits(network, inputs):
    with torch.no_grad():
        return network(**inputs).logits

saved = logits(model, given["inputs"])
found = {"saved": (saved - given["logits"]).abs().max().item(), "merged": 0.0}
if tuning == "lora":
    # In fp64: a recurrent layer makes more of the rounding of merged fp32 weights than a tolerance should allow.
    exact = {name: value.double() if value.is_floating_point() else value for name, value in given["inputs"].items()}
    apart = logits(model.double(), exact)
    found["merged"] = (logits(model.merge_and_unload(), exact) - apart).abs().max().item()
print(json.dumps(found | {"prompt": tokenizer.apply_chat_template(given["chat"], tokenize=False)}))
"""
SEES, READS = "AutoModelForImageTextToText", "AutoModelForCausalLM"
QUICK = ("base", families.TABLE["Qwen2.5-VL"], "lora")
EVERY = [
    ("adversary", families.TABLE["Qwen2.5-VL"], "lora"),  # its adapter is added second
    *((family.player, family, tuning) for family in families.TABLE.values() for tuning in family.tunings),
]
CASES = [QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in EVERY if case != QUICK)]


@pytest.mark.parametrize(("player", "family", "tuning"), CASES)
def test_a_checkpoint_loads_without_duel(tmp_path, player, family, tuning):
    auto = SEES if family.player == "base" else READS
    folder = family.save(tmp_path / "model")
    models = {"tuning": tuning} | ({"adversary": folder} if auto == READS else {})
    base = tiny.save_vlm(tmp_path / "base") if auto == READS else folder
    players = load_players(tiny.settings(base, models=models))
    policy = players[player]
    given = [ModelInput("what is it?", tiny.picture("red") if player == "base" else None)]
    [row] = policy.sample(given, [[1, 2, 3, 4]], temperature=0.9, max_new_tokens=8)
    policy.learn(given, [tiny.group(row, [0.1, 0.4, None, 0.9])])
    policy.save(tmp_path / "saved")

    prompt = build_prompts(policy.model, given)
    inputs = {"input_ids": prompt.input_ids_IP, "attention_mask": prompt.attention_mask_IP, **prompt.images}
    chat = [{"role": "user", "content": "hello"}]
    with torch.no_grad(), policy.tuning.active():
        logits = policy.model.network(**inputs).logits
    torch.save({"inputs": inputs, "logits": logits, "chat": chat}, tmp_path / "given.pt")
    command = [sys.executable, "-W", "ignore", "-c", OUTSIDE, str(tmp_path / "saved"), auto, tuning]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["saved"] < 1e-4
    assert found["merged"] < 1e-4
    assert "hello" in found["prompt"]


def test_the_model_card_names_base_player_rounds_and_how_to_load_it(tmp_path):
    folder = tiny.save_vlm(tmp_path / "model")
    policy = load_players(tiny.settings(folder), ["base"])["base"]
    policy.save(tmp_path / "saved")
    card = (tmp_path / "saved" / "README.md").read_text()
    assert card.startswith(f"---\nbase_model: {folder}\nlibrary_name: peft\n")
    assert "# The base after 0 rounds" in card
    assert (
        f'base = AutoModelForImageTextToText.from_pretrained({folder!r})\nmodel = PeftModel.from_pretrained(base, ".")'
        in card
    )
    assert Path(folder).is_dir()
