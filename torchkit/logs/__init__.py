"""Reads what programs wrote: finds the known problems in a log, however long and however wrapped.

`lines` undoes what terminals, test runners and launchers did to a line, `patterns` turns what the
catalogue writes into what is searched, `reader` goes through a stream of any length, and
`problems` puts what was found in order. Nothing here judges a machine.
"""
