"""Numbers of the reference implementation, and the checks that reproduce them."""
