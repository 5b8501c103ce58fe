"""Units of several types: their stationary and static states, the stability of means, and Lyapunov exponents."""
