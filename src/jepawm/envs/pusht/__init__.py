"""Push-T: a round agent pushes a T-shaped block."""
