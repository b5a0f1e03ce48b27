"""Image generators: the interface, the paid service and local diffusion."""
