"""Tolerances and tuned numbers of the room, each with what set it.

Lengths are relative to the size of the support (or to g, where that is not known yet) unless they say otherwise.
"""

# --- Newton's method for the image z of a point zeta (`outside`)
IMAGE_STEP = 1e-12  # of log z; steps are quadratic, so the last one leaves rounding
# Of 1200 points around random modes with gains of tanh at inputs of variance .5 (20), these steps miss 3 (40), deep in
# the support, where nothing depends on them; 8 steps miss 6 (133).
IMAGE_STEPS = 40
LONGEST_STEP = 2.0  # of log z: gains that vary by decades spread z as much, and longer steps leave the branch

# --- edges (`edges`): together they miss none of 768 edges of random deep-Hebbian laws, and 10 in float32
HEIGHTS = 12  # horizontal lines that seek the rightmost point, crowding towards the real axis
RIGHTMOST_POLES = 32  # a line through each; a law may have a pole for each of thousands of amplitudes
HALVINGS = 16  # of each line: to 1e-5 of the support, from where Newton's method converges
EDGE_STEPS = 10  # Newton steps, as the guess may lie between two lines
ON_AXIS = 1e-4  # a point of the real axis this close to the best counts as best: halvings are no finer
KEPT = 1e-3  # Newton's method may end this far left of the guess, which is a point of the boundary; else it has left
POLE_AT_ZERO = 1e-9  # a pole this close to zeta = 0 is at 0, up to rounding
BESIDE_ZERO = 1e-6  # the point that decides if m < 1 right beside such a pole
EDGE_AT_ZERO = 1e-4  # edges this close to such a pole are the point 0
LEAST_LEAN = 0.01  # sine of the boundary with the vertical below which its equation is linear, above quadratic
FOLLOWED = 1e-3  # the critical edge must still be the rightmost point to this
AXIS_POINTS = 2048  # of the real axis, on which crossings are sought: features of 1/2000 are seen, as by `boundary`
BEYOND = 1.6  # factor by which the axis is continued until m < 1, six times at most: saturated gains reach further
CROSSING_HALVINGS = 40  # of a cell: to 1e-15 of the support
CROSSING_KEPT = 1e-6  # Newton's method may move a crossing by this; else it has left for another one
CROSSING_AT_ZERO = 1e-3  # crossings this close to a pole at 0 are the point 0: averages are uncertain there

# --- the solution at any point (`inside`)
UNSURE = 1e-7  # closer to the boundary than this, the side is not decided; also where Newton's method ends
DAMPED = 24  # damped steps of the first attempt; each further attempt takes twice as many
ATTEMPTS = 5  # one suffices at each of 800 points around a deep-Hebbian law; only points next to edges need more
REGULARISER = 100.0  # factor by which each attempt lowers eta, which begins at g
NEWTON_STEPS = 8, 6  # of the first attempt, and more of each that follows
SINGULAR_LEAST = 1e-6  # of x = 1/sqrt(c) in singular modes, which is 0 on the edge of the inner void
BESIDE_ORIGIN = 1e-4  # z = 0 is replaced by a point this far from it (over g): t may have a pole there
RESIDUAL = 1e-5  # of a solution: averages over two close angles where 1 - lambda t vanishes have 6 to 8 digits

# --- the density on a line (`inside`)
LINE_DAMPED = 32  # steps of the first attempt; each further attempt takes twice as many
LINE_ATTEMPTS = 4
LINE_RESIDUAL = 1e-8  # Newton's method has converged below this
LINE_POSITIVE = 1e-7  # an imaginary part above this is density, below it is rounding
LINE_MARGIN = 1e-6  # m may exceed 1 by this off the support
LINE_DECAYED = 1e-2  # off the support the imaginary part of the iteration has fallen below this with eta

# --- closed curves (`boundary`)
COARSE = 96  # cells of the first grid along the real axis; all grids and curves of a ring take 30 ms
REFINE = 3  # factor of each refinement; odd, so that no row of points ever falls on the real axis, where poles are
FINEST = 27  # COARSE * FINEST cells at most, 1/2600 of the axis
RESOLUTION = 2000  # curves smaller than the support by more than this may be of the grid's making
ON_CURVE = 1e-3  # |m - 1| of a refined point; others are left out
CURVE_STEPS = 5  # Newton steps to the curve from the grid
THINNEST = 1e-6  # density on the line that still belongs to the support
TIP_HALVINGS = 30  # of the gap in which a tip of an interval lies
CHUNK = 1024  # points evaluated in one call, so that every call has one shape

# --- areas of voids (`voids`), points of a law (`points`), maps of densities (`spectral_law`)
ZERO_EIGENVALUE = 1e-6  # of the largest: smaller ones are zeros of a matrix of low rank, up to rounding
CELLS = 64  # of the grid of a law along each axis, for its quantiles
BATCH = 512  # points of a density solved together: memory stays bounded, and slow points do not hold up all others
ZERO_MEAN = 1e-6  # of the largest gain: a smaller mean is 0, up to rounding
