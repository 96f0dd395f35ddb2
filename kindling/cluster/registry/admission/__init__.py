"""What the API server fills in or refuses beyond an object's own fields: it needs to see others."""
