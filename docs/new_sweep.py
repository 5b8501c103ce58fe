from new_ensemble import Relay

import jaxnets as jn


def dimension(g, load):
    relay = Relay(g, load)
    found = jn.population.dimension(jn.meanfield.stationary(relay, jn.transfer.Tanh()))
    return {"dimension": found.phi, "converged": found.converged}
