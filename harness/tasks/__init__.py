"""Entry points of the kinds of tasks: `run(spec, inputs, place)`, a generator of events that ends in a Result.

Inputs and results are passed by value. A task reads and writes no file and knows no pool. Workers call `run`;
what it yields goes to the driver.
"""
