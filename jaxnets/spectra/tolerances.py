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
ROW = 48  # points whose images are computed in one call: all lines of the search, of which there are 44 at most
HALVINGS = 16  # of each line: to 1e-5 of the support, from where Newton's method converges
EDGE_STEPS = 10  # Newton steps, as the guess may lie between two lines
EDGE_MISS = 1e-11  # of the equations, from which one more step leaves rounding
FIRST_LENGTH = 1e-2  # of the size, over which m is taken to change by itself at first
ON_AXIS = 1e-4  # a point of the real axis this close to the best counts as best: halvings are no finer
LEAST_SINGLE = 0.8  # m at a crossing: beside poles of thin supports .66 with a wrong z, others of 33 lines from .83 on
KEPT = 1e-3  # Newton's method may end this far left of the guess, which is a point of the boundary; else it has left
POLE_AT_ZERO = 1e-9  # a pole this close to zeta = 0 is at 0, up to rounding
BESIDE_ZERO = 1e-6  # the point that decides if m < 1 right beside such a pole
EDGE_AT_ZERO = 1e-4  # edges this close to such a pole are the point 0
EDGE_RESIDUAL = 1e-8  # of the equations, above which the search has failed
LOOKS = 12  # of the search between two points of the axis; three or four narrow a bracket down to rounding
SECANT = 1e-4  # first step of a secant, relative
SECANTS = 30
LEAST_LEAN = 0.01  # sine of the boundary with the vertical below which its equation is linear, above quadratic
FOLLOWED = 1e-3  # the critical edge must still be the rightmost point to this
AXIS_POINTS = 2048  # of the real axis, on which crossings are sought: features of 1/2000 are seen, as by `boundary`
BEYOND = 1.6  # factor by which the axis is continued until m < 1, six times at most: saturated gains reach further
AXIS_BATCHES = 4  # in which traced images on the axis are computed; they divide 2048 + 12
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
ROUNDINGS = 3000  # the residual may be this many roundings, which a well-conditioned solution in float32 reaches

# --- the density on a line (`inside`)
LINE_DAMPED = 32  # steps of the first attempt; each further attempt takes twice as many
LINE_ATTEMPTS = 4
LINE_RESIDUAL = 1e-8  # Newton's method has converged below this
LINE_POSITIVE = 1e-7  # an imaginary part above this is density, below it is rounding
LINE_MARGIN = 1e-6  # m may exceed 1 by this off the support
LINE_DECAYED = 1e-2  # off the support the imaginary part of the iteration has fallen below this with eta

# --- closed curves (`boundary`)
COARSE = 96  # cells of the grid along the real axis
PATCH = 9  # points across a square around a smallest m, which shrinks by 3
PATCHES = 4  # squares; the last one has points 1/100 of a cell apart
RESOLUTION = 2000  # curves smaller than the support by more than this may be of the grid's making
ON_CURVE = 1e-3  # |m - 1| of a refined point; others are left out
CURVE_STEPS = 6  # Newton steps to the curve from the grid
LAST_STEPS = 2  # Newton steps from the cubics between followed points
SEEDS = 8  # of each polygon of the grid
FRONTS = 256  # points of curves evaluated together
FOLLOW_STEPS = 3000  # of each front
SHORTEST_STEP = 1e-8  # over the size: a front that needs shorter steps is given up
STEP_ERROR = 0.2  # Newton's first correction of a step, over the distance to the poles; it may not reach the other side
STEP_MISS = 0.1  # |m - 1| after it
WALL = 8  # points of a curve of poles for each pole: chords are off by 1/100000 of the size
WALL_ANGLE = 0.3  # sine of the angle above which a step crosses a curve of poles, below which it runs beside it
WALL_AT_ZERO = 0.02  # of the spacing of a wall's points: how near to 0 it runs through 0; arcs leave chords by less
TURNED = 0.01  # over the size: fronts that end this close to 0 go on beside the next branch of poles through 0
STEP_TURN = 0.5  # of the tangent in a step, in radians
THINNEST = 1e-6  # density on the line that still belongs to the support
TIP_HALVINGS = 30  # of the gap in which a tip of an interval lies
CHUNK = 1024  # points evaluated in one call, so that every call has one shape

# --- areas of voids (`voids`), points of a law (`points`), maps of densities (`spectral_law`)
ZERO_EIGENVALUE = 1e-6  # of the largest: smaller ones are zeros of a matrix of low rank, up to rounding
CELLS = 64  # of the grid of a law along each axis, for its quantiles
BATCH = 512  # points of a density solved together: memory stays bounded, and slow points do not hold up all others
FEW = 16  # points up to which a smaller batch is compiled instead
ZERO_MEAN = 1e-6  # of the largest gain: a smaller mean is 0, up to rounding

# --- several types (`types`)
SQUARINGS = 20  # of a matrix of averages: eigenvalues that differ by 1e-6 are told apart
T_STEPS = 3  # for t from a point close by
T_MISS = 1e-4  # of t, before the last step, which leaves the square
FRAME_POINTS = 4  # of each side of a box around the support, where m < 1
LINES = 9  # of constant Im z, crowding towards the real axis, on which the rightmost point is sought
LINE_CELLS = 12  # of a line in the search for its first crossing: components narrower than that may be stepped over
LINE_STEPS = 32  # along these cells, and on to the crossing: by Newton's method if it converges, else by halvings
FRAMES = 4  # boxes around the support, each BEYOND times as wide as the one before
LINE_END = 0.01  # of the size: the last step of a line, and how far Newton's method may move its end
FAR_FROM_EDGE = 0.5  # m below which a point lies not next to the edge
TYPED_EDGE_STEPS = 6  # Newton steps from the last point of a line: 3 do not reach the branch point of t where s = 1
HEIGHT_STEP = 1e-6  # of Im z of the rightmost point, on which Re z depends to second order
HEIGHT_STEPS = 20
SOLVE_STEPS = 8  # Newton steps from the damped iteration, on both sides of the boundary
GRIDS = 4  # for as many time constants, around -1/tau each: the support has structure of the size 1/tau
AXIS_HALVINGS = 12  # between points of the axis, before Newton's method
LEAST_LEVEL = 1e-6  # of a point outside, beside the boundary
HIDDEN = 16  # patches of a grid, for islands and for voids each, where the level is next to 0
PARTS = 8  # of r, through which an outlier is followed
SAME = 1e-7  # over the size: outliers this close are one
OUTLIER_MISS = 1e-7  # of the equations of an outlier
SOUGHT = 64  # starts of the search for outliers that were counted and not found

# --- single weights with laws of their own: tuned on means of radius .8 and trained networks, of 24 to 120 units

PROFILE_CELLS = 60  # of the grid along the real axis on which curves of the support are looked for
PROFILE_BATCH, PROFILE_FEW = 64, 16  # points of one program: levels, densities
PROFILE_STEPS = 5  # of Newton's method, on a curve from less than a cell away: 4 reach rounding
PROFILE_ZOOMS = 3  # into the extreme point of a curve, by 1/30 each: the last y is 3e-5 of a step off, x its square
PROFILE_NEWTON = 8  # of Newton's method, in a density: after 4 steps 2 of 1089 points were not solved, after 8 none
PROFILE_ITERATIONS = 2000  # of the power iteration, whose ratio is .3 to .9
PROFILE_ROUNDINGS = 8.0  # change of the quotient that ends it
PROFILE_LARGEST = 1e6  # spectral radius next to an eigenvalue of the mean, where contours are to stay smooth
PROFILE_DAMPED, PROFILE_REGULARISER = 60, 1e-5  # steps, and the regulariser at their end: where Newton's method starts
PROFILE_RESIDUAL = 1e-6  # relative, of levels, curves and the equations of a density
