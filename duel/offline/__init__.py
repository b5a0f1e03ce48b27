"""The embedded offline world: a chart renderer, two small models and a data set, all inside the package."""
