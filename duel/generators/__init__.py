"""Image generators: the `ImageGenerator` protocol, Replicate's API, and local `diffusers` pipelines."""
