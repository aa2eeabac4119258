"""`python -m drystone`: the same as the `drystone` command, for where scripts are not on PATH."""

from drystone.cli.main import main

if __name__ == "__main__":
    main()
