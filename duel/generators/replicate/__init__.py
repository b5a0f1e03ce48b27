"""The image generator that draws on replicate.com: one purchase per draw, whatever is lost on the way."""
