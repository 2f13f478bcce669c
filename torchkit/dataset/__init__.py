"""A user's Dataset: what its batches cost in shared memory.

`predict` and `sample` are arithmetic and need no torch. The others run in a child process, which
alone imports torch and the user's code; the process of the command line never does.
"""
