"""Made-up rows with the columns and types of PEFT-Bench's sets; no row of theirs stands here."""

import superglue_rows
from made_rows import Made, pair

MADE = superglue_rows.MADE | {
    "mmlu": Made(
        pair({"question": "2 + 2?", "subject": "", "choices": ["3", "4", "5", "6"], "answer": 1}, question="1 + 2?", answer=0),
        "Question: 2 + 2?\nA: 3\nB: 4\nC: 5\nD: 6\nAnswer (A, B, C or D):",
        " B",
        (),
        {"A": 0, "4": 0, "A number": 0},
    ),
    "piqa": Made(
        pair({"goal": "Cool the tea.", "sol1": "Heat it.", "sol2": "Add ice.", "label": 1}, goal="Warm the tea.", label=0),
        "Goal: Cool the tea.\nsolution1: Heat it.\nsolution2: Add ice.\nThe better one (solution1 or solution2):",
        " solution2",
        (),
        {"solution1": 0},
    ),
    "siqa": Made(
        pair(
            {
                "context": "Nora gave Ada tea.",
                "question": "How does Ada feel?",
                "answerA": "cold",
                "answerB": "glad",
                "answerC": "lost",
                "label": "2",
            },
            question="What will Ada do?",
            label="3",
        ),
        "Situation: Nora gave Ada tea.\nQuestion: How does Ada feel?\nA: cold\nB: glad\nC: lost\nAnswer (A, B or C):",
        " B",
        (),
        {"A": 0, "glad": 0},
    ),
    "hellaswag": Made(
        pair(
            {
                "ind": 4,
                "activity_label": "Tea",
                "ctx_a": "Nora boils water.",
                "ctx_b": "she",
                "ctx": "Nora boils water. she",
                "endings": ["flies.", "makes tea.", "is tea.", "boils."],
                "source_id": "made~up",
                "split": "train",
                "split_type": "indomain",
                "label": "1",
            },
            ctx="Nora opens a wing. she",
            label="0",
        ),
        "Text: Nora boils water. she\nending1: flies.\nending2: makes tea.\nending3: is tea.\nending4: boils.\n"
        "The right one (ending1, ending2, ending3 or ending4):",
        " ending2",
        (),
        {"ending1": 0, "ending4": 0},
    ),
    "winogrande": Made(
        pair(
            {"sentence": "Nora fed Ada as _ was hungry.", "option1": "Nora", "option2": "Ada", "answer": "2"},
            sentence="Nora fed Ada as _ was kind.",
            answer="1",
        ),
        "Sentence: Nora fed Ada as _ was hungry.\noption1: Nora\noption2: Ada\nThe gap _ stands for (option1 or option2):",
        " option2",
        (),
        {"option1": 0},
    ),
    "openbookqa": Made(
        pair(
            {
                "id": "0-1",
                "question_stem": "Ice is",
                "choices": {"text": ["hot", "cold", "loud", "alive"], "label": ["A", "B", "C", "D"]},
                "answerKey": "B",
            },
            question_stem="Fire is",
            answerKey="A",
        ),
        "Question: Ice is\nA: hot\nB: cold\nC: loud\nD: alive\nAnswer (A, B, C or D):",
        " B",
        (),
        {"A": 0, "cold": 0},
    ),
    "math_qa": Made(
        pair(
            {
                "Problem": "half of 8 is ?",
                "Rationale": "8 / 2 = 4, so c",
                "options": "a ) 2 , b ) 3 , c ) 4 , d ) 5 , e ) 6",
                "correct": "c",
                "annotated_formula": "divide(8, 2)",
                "linear_formula": "divide(n0,n1)|",
                "category": "general",
            },
            Problem="half of 4 is ?",
            correct="a",
        ),
        "Problem: half of 8 is ?\nChoices: a ) 2 , b ) 3 , c ) 4 , d ) 5 , e ) 6\nAnswer (a, b, c, d or e):",
        " c",
        (),
        {"a": 0, "4": 0, "a c": 0},
    ),
    "gsm8k": Made(
        pair(
            {"question": "Ada has 2 tins of 3. How many?", "answer": "2 * 3 = <<2*3=6>>6\n#### 6"},
            question="And 4 tins?",
            answer="#### 12",
        ),
        "Problem: Ada has 2 tins of 3. How many?\nSolution:",
        " 2 * 3 = <<2*3=6>>6\n#### 6",
        ("So there are 6.", "#### 6"),
        {"#### 7": 0, "6 tins, no, 7": 0},
    ),
    "svamp": Made(
        pair(
            {
                "ID": "made-1",
                "Body": "Ada has 8 nuts and eats 3",
                "Question": "How many are left?",
                "Equation": "( 8.0 - 3.0 )",
                "Answer": "5",
                "Type": "Subtraction",
                "question_concat": "Ada has 8 nuts and eats 3 How many are left?",
            },
            question_concat="Ada has 4 nuts and eats 3 How many are left?",
            Equation="( 4.0 - 3.0 )",
            Answer="1",
        ),
        "Problem: Ada has 8 nuts and eats 3 How many are left?\nEquation and value:",
        " ( 8.0 - 3.0 ) = 5",
        ("5", "( 8 - 3 ) = 5.0"),
        {"( 8.0 - 3.0 ) = 6": 0, "( 5.0 + 3.0 ) = 8": 0},
    ),
    "conala": Made(
        pair(
            {"question_id": 1, "intent": "sort it", "rewritten_intent": "sort list `x`", "snippet": "sorted(x)"},
            question_id=2,
            rewritten_intent="sum list `x`",
            snippet="sum(x)",
        ),
        "Write Python: sort list `x`\nCode:",
        " sorted(x)",
        ("sorted( x )",),
        # 3 of 4 tokens, 2 of 3 pairs, 1 of 2 triples, 0 of 1 fourfold; each but the first with one more of both
        {"sorted(y)": (3 / 4 * 2 / 4 * 1 / 3 * 1 / 2) ** 0.25, "import os": 0},
    ),
    "codealpacapy": Made(
        pair(
            {"prompt": "Add two numbers.", "response": "def add(a, b):\n    return a + b"},
            prompt="Negate.",
            response="def neg(a):\n    return -a",
        ),
        "Add two numbers.\nCode:",
        " def add(a, b):\n    return a + b",
        ("def add(a, b): return a + b",),
        {"": 0, "pass": 0},
    ),
    "apps": Made(
        pair(
            {
                "id": 0,
                "question": "Read n, print its double.",
                "solutions": '["n = int(input())\\nprint(2 * n)", "print(int(input()) * 2)"]',
                "input_output": '{"inputs": ["2\\n"], "outputs": ["4\\n"]}',
                "difficulty": "introductory",
                "url": "https://example.org/0",
                "starter_code": "",
            },
            id=1,
            question="Read n, print it.",
            solutions='["print(input())"]',
        ),
        "Problem: Read n, print its double.\nProgram in Python:",
        " n = int(input())\nprint(2 * n)",
        ("print(int(input()) * 2)",),
        {"": 0, "pass": 0},
    ),
}
