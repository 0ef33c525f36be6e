"""Environments of others behind our contract: Gymnasium, OGBench, robosuite, RoboCasa."""
