"""Metaworld tasks in MuJoCo."""
