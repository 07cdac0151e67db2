"""`python -m clozework` is the command line."""

from clozework.cli import main

if __name__ == "__main__":
    main()
