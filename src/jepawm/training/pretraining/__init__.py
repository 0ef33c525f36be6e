"""Self-supervised pretraining of a small vision transformer on the frames of a store."""
