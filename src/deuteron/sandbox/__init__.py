"""The place where a cloud runs: namespaces that behave like machines, and the process that keeps them alive."""
