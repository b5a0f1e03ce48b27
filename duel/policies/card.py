"""The model card of a saved player: what it is, what it was trained from, and how to load it without Duel."""

from __future__ import annotations

from transformers import PreTrainedModel

import duel
from duel.types import Player

CARD = """---
base_model: {base}
library_name: {library}
tags: [duel, grpo]
---

# The {player} after {rounds} rounds

{role} Trained by Duel {version} from `{base}`{revision}: GRPO on generated images, without
labels. {what} Settings, metrics and evaluations are in the run directory that this checkpoint is a part of.

```python
{code}
```
"""
ROLES = {
    "base": "Describes images so that an image generator can draw them again.",
    "adversary": "Writes prompts whose images the base describes badly.",
}
LOAD = """from transformers import {auto}, AutoTokenizer

model = {auto}.from_pretrained(".")
tokenizer = AutoTokenizer.from_pretrained(".")"""
LOAD_ADAPTER = """from peft import PeftModel
from transformers import {auto}, AutoTokenizer

base = {auto}.from_pretrained({base!r}{revision})
model = PeftModel.from_pretrained(base, ".")  # model.merge_and_unload() for weights without PEFT
tokenizer = AutoTokenizer.from_pretrained(".")"""


def model_card(network: PreTrainedModel, sees: bool, player: Player, rounds: int, adapter: bool) -> str:
    """Return a model card in Markdown.

    Args:
        network: The network that the weights belong to.
        sees: Whether it takes images.
        player: Whose weights they are.
        rounds: How many rounds the player has learned.
        adapter: Whether the folder holds an adapter rather than all weights.
    """
    auto = "AutoModelForImageTextToText" if sees else "AutoModelForCausalLM"
    base, commit = network.name_or_path, commit_of(network)
    pinned = "" if commit is None else f", revision={commit!r}"
    code = LOAD_ADAPTER.format(auto=auto, base=base, revision=pinned) if adapter else LOAD.format(auto=auto)
    return CARD.format(
        base=base,
        library="peft" if adapter else "transformers",
        player=player,
        rounds=rounds,
        role=ROLES[player],
        version=duel.__version__,
        revision="" if commit is None else f" at commit {commit}",
        what="This folder holds a LoRA adapter of the language model." if adapter else "This folder holds all weights.",
        code=code,
    )


def commit_of(network: PreTrainedModel) -> str | None:
    """Return the hub's commit that the network was loaded from; None for a local folder."""
    commit = getattr(network.config, "_commit_hash", None)
    return str(commit) if commit else None
