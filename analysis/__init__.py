"""From records of finished cells to tables, figures and reports.

The records on disk are the only interface to training: this package imports neither torch nor `lorabench`. A folder imports
only what stands before it in this list, and within a folder there is no circle.

    errors, files, arguments, kinds    the one error a user sees; hashes; what command lines share; tables and figures by files
    published     the papers' numbers, CSV files that come with the package
    style         how numbers and settings are written; tables as text; the order, colours and markers of variants
    read          records of cells and Hessian blocks, journals, completions, published cells → rows and frames
    stats         curves and peaks, paired and unpaired differences, intervals, equivalence, power, correlation
    questions     what the commands answer: differences to LoRA, what to use, sharpness and advice, rules, searches, proxies
    tables        a kind of table a file, found by its name
    figures       a kind of figure a file, found by its name
    report        one HTML page of everything; CSV and Parquet; the report for Weights & Biases
    __main__      the command line, which imports what a command needs when it runs
"""
