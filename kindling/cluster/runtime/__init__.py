"""Processes as containers: namespaces, root file systems, limits, and plain processes without
them.

    choose                  which runtime a machine gets
    launcher | plain        namespaces | nothing but care; `spawned` and `link` are what they share
    egress, rewriting       what each needs besides: a way out of the network, paths of an image
    fake                    one in memory, for tests of others
    launch                  the program that does it, in a process of its own; stdlib only
    protocol                the door; nobody outside needs more than it and `choose`
"""
