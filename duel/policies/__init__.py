"""A player's language model: loading, sampling, log-probabilities, GRPO updates, saving."""
