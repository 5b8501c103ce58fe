"""Fixed points of an infinitely large network: the law of a unit's state there, and the spectrum of the Jacobian."""
