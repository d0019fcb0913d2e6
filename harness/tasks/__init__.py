"""Entry points of the kinds of tasks: `run(spec, inputs, place)`, a generator of events that ends in a Result.

A task is told everything by value and answers by value; it reads and writes no file and knows no pool.
"""
