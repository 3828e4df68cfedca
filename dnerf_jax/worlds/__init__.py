"""Worlds: parametric sources of posed images whose labels, depth and cameras are exact for every latent."""
