"""The instructions given to the models: describe an image, write a prompt, answer a question, at once or after a
description.

The embedded models were trained on these exact sentences.
"""

DESCRIBE = "Describe this image in detail: its visual elements, colours, shapes and text."
INVENT = "Describe a plot or chart of a scientific publication, of any subject and style, in detail."
ANSWER = "{question}\nAnswer with a single word or number."
REASON = "{question}\nDescribe this image in detail, then answer with a single word or number after 'Answer:'."
ANCHOR_QUESTIONS = (
    "What is the label of the x axis?",
    "What is the largest value?",
    "What is the label of the y axis?",
    "What is the first value?",
)
