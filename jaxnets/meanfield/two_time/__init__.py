"""Mean field at two times: the way from any start, under any input, to the stationary state or away from it."""
