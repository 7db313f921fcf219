"""The verbs as functions: check, plan, train, predict, evaluate, report, and what they need to run.

This room alone knows all the others; a door calls one function of it. Import from the module of the verb, as
in ``from segmentarium.engine.train import train``: nothing is loaded that is not needed.
"""
