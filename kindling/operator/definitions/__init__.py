"""The custom kinds of `apps.example.com/v1alpha1`, as data."""
