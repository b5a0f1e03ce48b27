"""ImageGenerator for replicate.com. A journal makes creating a prediction idempotent: no image is paid for twice."""
