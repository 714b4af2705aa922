"""`python -m deuteron.agent --settings FILE`."""

from deuteron.agent.main import main

main()
