"""What the proofs of the rollout share."""
