"""Tables: the columns that `kubectl get` shows, kind by kind, one module a group of kinds."""
