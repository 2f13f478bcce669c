"""A user's script: run it as Python would, watch it, and say which tensor is the trouble.

torch is never imported before the script does it: what there is to say about tensors is said when
there are some. Nothing of ours may raise inside the user's program, change its random numbers, or
call its functions a second time.
"""
