"""Made-up rows with the columns and types of GLUE and SuperGLUE; no row of theirs stands here."""

import pyarrow as pa
from made_rows import Made, pair

SPANS = {"text": ["Nora", "Oslo"], "start": [0, 14], "end": [4, 18]}
MADE = {
    "mnli": Made(
        pair(
            {"premise": "The pot boils.", "hypothesis": "The pot is hot.", "label": 0, "idx": 0},
            hypothesis="It is red.",
            label=1,
            idx=1,
        ),
        "Premise: The pot boils.\nHypothesis: The pot is hot.\nRelation of the two (entailment, neutral or contradiction):",
        " entailment",
        ("Entailment.",),
        {"neutral": 0, "contradiction": 0, "": 0},
    ),
    "qqp": Made(
        pair(
            {"question1": "How old is it?", "question2": "What is its age?", "label": 1, "idx": 0},
            question2="Where is it?",
            label=0,
            idx=1,
        ),
        "First question: How old is it?\nSecond question: What is its age?\nThey are (duplicate or not_duplicate):",
        " duplicate",
        ("They are duplicate",),
        {"not_duplicate": 0, "same": 0},
    ),
    "qnli": Made(
        pair({"question": "Who came?", "sentence": "Nora came.", "label": 0, "idx": 0}, sentence="It rained.", label=1, idx=1),
        "Question: Who came?\nSentence: Nora came.\nThe answer follows from the sentence (entailment or not_entailment):",
        " entailment",
        (),
        {"not_entailment": 0},
    ),
    "sst2": Made(
        pair({"sentence": "a warm little film ", "label": 1, "idx": 0}, sentence="a bore ", label=0, idx=1),
        "Sentence: a warm little film \nSentiment (negative or positive):",
        " positive",
        ("Positive!",),
        {"negative": 0, "negative, not positive": 0},
    ),
    "stsb": Made(
        pair(
            {"sentence1": "A dog runs.", "sentence2": "A dog is running.", "label": 3.8, "idx": 0},
            sentence2="A cat.",
            label=0.75,
            idx=1,
        ),
        "First sentence: A dog runs.\nSecond sentence: A dog is running.\nSimilarity from 0 to 5:",
        " 3.8",
        ("3.80", "It is 3.8."),
        {"2.8": 0.8, "5": 0.76, "alike": 0},
        (("label", pa.float32()),),
    ),
    "mrpc": Made(
        pair({"sentence1": "He won.", "sentence2": "He has won.", "label": 1, "idx": 0}, sentence2="He lost.", label=0, idx=1),
        "First sentence: He won.\nSecond sentence: He has won.\nThey are (equivalent or not_equivalent):",
        " equivalent",
        (),
        {"not_equivalent": 0},
    ),
    "rte": Made(
        pair(
            {"sentence1": "Nora sings well.", "sentence2": "Nora sings.", "label": 0, "idx": 0},
            sentence2="Nora dances.",
            label=1,
            idx=1,
        ),
        "Text: Nora sings well.\nClaim: Nora sings.\nThe claim follows from the text (entailment or not_entailment):",
        " entailment",
        (),
        {"not_entailment": 0},
    ),
    "cola": Made(
        pair({"sentence": "Nora sang.", "label": 1, "idx": 0}, sentence="Nora sang the of.", label=0, idx=1),
        "Sentence: Nora sang.\nGrammar (acceptable or unacceptable):",
        " acceptable",
        (),
        {"unacceptable": 0},
    ),
    "record": Made(
        pair(
            {
                "passage": "Nora flew to Oslo.\n@highlight\nShe is a pilot",
                "query": "@placeholder landed.",
                "entities": ["Nora", "Oslo"],
                "entity_spans": SPANS,
                "answers": ["Nora", "the pilot Nora"],
                "idx": {"passage": 0, "query": 0},
            },
            query="In @placeholder it snows.",
            answers=["Oslo"],
            idx={"passage": 1, "query": 1},
        ),
        'Passage: Nora flew to Oslo.\n@highlight\nShe is a pilot\nNames: ["Nora", "Oslo"]\nQuery: @placeholder landed.\n'
        "The name that @placeholder stands for:",
        " Nora",
        ("the pilot Nora",),
        {"Oslo": 0, "Nora or Oslo": 0},
    ),
    "multirc": Made(
        pair(
            {
                "paragraph": "Nora flew to Oslo.",
                "question": "Where did she fly?",
                "answer": "To Oslo",
                "idx": {"paragraph": 0, "question": 0, "answer": 0},
                "label": 1,
            },
            answer="Home",
            idx={"paragraph": 1, "question": 0, "answer": 1},
            label=0,
        ),
        "Paragraph: Nora flew to Oslo.\nQuestion: Where did she fly?\nAnswer: To Oslo\nThe answer is (true or false):",
        " true",
        ("True",),
        {"false": 0},
    ),
    "boolq": Made(
        pair(
            {"question": "is ice cold", "passage": "Ice is frozen water.", "idx": 0, "label": 1},
            question="is ice hot",
            idx=1,
            label=0,
        ),
        "Passage: Ice is frozen water.\nQuestion: is ice cold?\nAnswer (true or false):",
        " true",
        (),
        {"false": 0, "yes": 0},
    ),
    "wic": Made(
        pair(
            {
                "word": "bank",
                "sentence1": "A bank lends.",
                "sentence2": "Her bank failed.",
                "start1": 2,
                "start2": 4,
                "end1": 6,
                "end2": 8,
                "idx": 0,
                "label": 1,
            },
            sentence2="The river's bank.",
            idx=1,
            label=0,
        ),
        'First sentence: A bank lends.\nSecond sentence: Her bank failed.\nThe word "bank" has the same sense in both (true or false):',
        " true",
        (),
        {"false": 0},
    ),
    "wsc": Made(
        pair(
            {
                "text": "Nora called Ada, and she came.",
                "span1_index": 2,
                "span2_index": 4,
                "span1_text": "Ada",
                "span2_text": "she",
                "idx": 0,
                "label": 1,
            },
            span1_index=0,
            span1_text="Nora",
            idx=1,
            label=0,
        ),
        'Text: Nora called Ada, and she came.\nIn this text, "she" stands for "Ada" (true or false):',
        " true",
        (),
        {"false": 0},
    ),
    "cb": Made(
        pair(
            {"premise": "I doubt he came.", "hypothesis": "he came", "idx": 0, "label": 1}, hypothesis="he left", idx=1, label=2
        ),
        "Premise: I doubt he came.\nHypothesis: he came\nRelation of the two (entailment, contradiction or neutral):",
        " contradiction",
        (),
        {"neutral": 0, "entailment": 0},
    ),
    "copa": Made(
        pair(
            {
                "premise": "The glass fell.",
                "choice1": "It sang.",
                "choice2": "It broke.",
                "question": "effect",
                "idx": 0,
                "label": 1,
            },
            premise="It hummed.",
            idx=1,
            label=0,
        ),
        "Premise: The glass fell.\nchoice1: It sang.\nchoice2: It broke.\nThe likelier effect (choice1 or choice2):",
        " choice2",
        (),
        {"choice1": 0},
    ),
}
