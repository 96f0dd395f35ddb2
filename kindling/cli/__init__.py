"""The command line: one module per verb, and nothing that could be done without a terminal.

A verb's module is imported only when that verb was chosen, and imports the rooms it needs inside
its function, so that `kindling version` and `--help` stay quick. Data goes to standard output,
everything else to standard error.
"""
