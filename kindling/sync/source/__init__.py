"""The source side of a sync session: what the files here come to in a container, and what changed.

    Watcher ── follow ──▶ paths ── SourceTree.look ──▶ changed paths, changed places
                                        │
                            tree, part(places), file(place)

`selection` says which paths count, `reading` asks the disk about them, `landed` keeps what they
come to in the container, `tree` holds all of it together, `gather` says when a burst of saves is
over.
"""
