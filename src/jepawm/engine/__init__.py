"""Everything that is only speed: candidates of a plan are rolled out fast, and come out the same."""
