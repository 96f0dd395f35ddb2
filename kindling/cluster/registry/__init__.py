"""What the verbs mean: create, update, patch, delete and watch, for every kind."""
