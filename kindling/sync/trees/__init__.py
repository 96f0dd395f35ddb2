"""Trees: what a folder holds, what must happen so that another comes to hold the same, and when a
burst of changes is over.

Pure: listings come in as the entries that `kindling.files` reads, moments are handed in, and what
comes out is a batch of operations for whoever speaks to a container.
"""
