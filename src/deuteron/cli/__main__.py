"""`python -m deuteron.cli`."""

from deuteron.cli.main import main

main()
