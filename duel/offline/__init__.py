"""The offline world, shipped with the package: a chart renderer as image generator, two small models, a data set."""
