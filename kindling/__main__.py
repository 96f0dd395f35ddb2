"""`python -m kindling` is the same program as `kindling`."""

from kindling.cli.main import main

if __name__ == "__main__":
    main()
