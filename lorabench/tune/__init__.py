"""``lorabench tune``: which method, learning rate and rank for a model and data, within a budget of cells or hours.

It trains nothing itself: each stage is a command of this project, which can be typed alone.

    __main__     the command line, and the stages in their order
    question     what the user's words leave open, and what they fix
    rates        which learning rates are tried first
    budget       how many cells each stage gets
    processes    a stage as a process of its own
    answers      what the records say so far, and the command that trains the final adapter
"""
