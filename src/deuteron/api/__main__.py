"""`python -m deuteron.api`."""

from deuteron.api.main import main

main()
