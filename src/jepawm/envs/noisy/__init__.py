"""Any environment made noisy: moving distractors, changing light, disturbed actions."""
