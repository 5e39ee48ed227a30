"""`eztorch checkpoint`: what is in a file of weights, and trunks taken out of it; one module a command."""
