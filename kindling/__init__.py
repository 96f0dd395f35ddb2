"""kindling: a declarative task-graph build system for Kubernetes development.

One Starlark file, the Kindlingfile, declares what should run; kindling turns it into one dependency
graph and keeps a cluster equal to it. This module stays free of imports: `kindling version` must be
quick, so every heavy package is imported where it is used.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
