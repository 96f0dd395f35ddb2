"""Objects on disk: revisions, durable writes and a history to watch. The only user of SQLite
here."""
