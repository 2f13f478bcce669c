"""Which build of torch or libtorch fits a machine: pure functions of facts and knowledge.

Checks and commands share it, so that two fixes never contradict each other. `forward/` says in the
same way why a model's forward raised. Nothing is read and nothing is judged here.
"""
