"""Test double of CharXiv's `src/constants.py`: same names and types, other texts; served by the fake Hub."""

REASONING_RESP_INST = {
    1: "{}\n    * Answer with words that are written in the chart.\n    ",
    2: "{}\n    * Answer with a short phrase, or with one of the options where some are given.\n    ",
    3: "{}\n    * Answer with a number that is written in the chart.\n    ",
    4: "{}\n    {}\n    ",
}

REASONING_GRADING_PREFIX = """
Compare a response with the true answer. Reply in JSON with the keys extracted_answer and score, which is 0 or 1.
"""

_TURN = "not read: only the names that Duel knows are"

REASONING_GRADING_INST = {
    1: """
    * 1 where both name the same thing.

    ### Example 1 Starts ###
    * Question: Which line is lowest?
    * Ground Truth: B
    * Response: It is A.
    ### Example 1 Ends ###

    ### Your Turn ###
    * Question: <|question|>
    * Ground Truth: <|ground_truth|>
    * Response: <|response|>

    """,
    2: """
    * 1 where both mean the same.

    ### Your Turn ###
    * Question: <|question|>
    * Ground Truth: <|ground_truth|>
    * Response: <|response|>

    """,
    3: """
    * 1 where both are the same number.

    ### Your Turn ###
    * Question: <|question|>
    * Ground Truth: <|ground_truth|>
    * Response: <|response|>

    """,
    4: """
    * 1 where both are the same number, as exact as asked for.

    ### Your Turn ###
    * Question: <|question|>
    * Ground Truth: <|ground_truth|>
    * Response: <|response|>

    """,
}

DESCRIPTIVE_RESP_INST = {
    1: "{}which title is written?",
    2: "{}how is the x-axis labelled?",
    3: "{}how is the y-axis labelled?",
    4: "{}which tick label is leftmost on the x-axis?",
    5: "{}which tick label is rightmost on the x-axis?",
    6: "{}which tick label is lowest on the y-axis?",
    7: "{}which tick label is highest on the y-axis?",
    8: "{}by how much do neighbouring ticks of the x-axis differ?",
    9: "{}by how much do neighbouring ticks of the y-axis differ?",
    10: "{}how many lines are drawn?",
    11: "{}do lines cross?",
    12: "{}how many entries has the legend?",
    13: "{}which entries has the legend, from the top?",
    14: "{}how far apart are the ends of the colour bar?",
    15: "{}what is the highest tick of the colour bar?",
    16: "{}how do the data run from left to right?",
    17: "{}how many ticks have labels?",
    18: "How are the subplots laid out? Answer as n by m.",
    19: "How many subplots are there?",
}

DESCRIPTIVE_GRADING_QMAP = {
    1: "Title?",
    2: "Label of the x-axis?",
    3: "Label of the y-axis?",
    4: "Leftmost tick label?",
    5: "Rightmost tick label?",
    6: "Lowest tick label?",
    7: "Highest tick label?",
    8: "Step of the x-axis?",
    9: "Step of the y-axis?",
    10: "Number of lines?",
    11: "Do lines cross?",
    12: "Number of legend entries?",
    13: "Legend entries?",
    14: "Range of the colour bar?",
    15: "Maximum of the colour bar?",
    16: "Trend?",
    17: "Number of tick labels?",
    18: "Layout of the subplots?",
    19: "Number of subplots?",
}

DESCRIPTIVE_GRADING_PREFIX = """
Grade <|NUM_TRIPLETS|> responses to one question. Reply in JSON with the keys <|JSON_KEYS|>; each score is 0 or 1.

Overarching Question: <|OVERARCHING_QUESTION|>
"""

DESCRIPTIVE_GRADING_ICL = {
    "title": "\n* 1 for the same title.\n\n### Example End ###\n",
    "ocr": "\n* 1 for the same text.\n\n### Example End ###\n",
    "quant": "\n* 1 for the same number.\n\n### Example End ###\n",
    "bool": "\n* 1 for the same answer.\n\n### Example End ###\n",
    "enum": "\n* 1 for the same entries in the same order.\n\n### Example End ###\n",
    "trend": "\n* 1 for the same trend.\n\n### Example End ###\n",
    "layout": "\n* 1 for the same rows and columns.\n\n### Example End ###\n",
}
