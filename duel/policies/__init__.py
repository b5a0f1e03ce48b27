"""A player's language model: loading, LoRA or full tuning, sampling, log-probabilities, GRPO updates, saving."""
