"""Local fakes of the paid services (Replicate, OpenAI, Hugging Face Hub) with faults: `python -m duel.testing`."""
