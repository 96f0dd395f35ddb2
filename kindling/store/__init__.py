"""What outlives a session: the run database, the action cache, file contents, the journal, the
logs.

All of it lies in `.kindling/` beside the Kindlingfile. The database, the cache and the blobs are
caches: they may be deleted at any time and cost only work done again. The journal is not: it says
what of the world must be put back. The only importer of sqlite3. Nothing here decides anything or
talks to a cluster.
"""
