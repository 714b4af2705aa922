"""A packet through the planned rows of all hosts, pure: where it passes, what each rule does, and where it ends."""
