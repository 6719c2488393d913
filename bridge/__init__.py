"""The public face of the bridge."""
