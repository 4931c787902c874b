"""What the proofs of security share."""
