"""What a world model gets wrong: drift, latents, costs of candidates, where failures stop."""
