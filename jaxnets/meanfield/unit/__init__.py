"""One unit of an infinitely large network: its stationary state, its response, and its largest Lyapunov exponent."""
