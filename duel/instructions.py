"""What the models are asked, word for word. The embedded models are trained on these sentences."""

DESCRIBE = "Describe this image in detail: its visual elements, colours, shapes and text."
INVENT = "Describe a plot or chart of a scientific publication, of any subject and style, in detail."
ANSWER = "{question}\nAnswer with a single word or number."
