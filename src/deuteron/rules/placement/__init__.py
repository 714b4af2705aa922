"""The laws of Placement: providers of resources, what they have, and who takes it."""
