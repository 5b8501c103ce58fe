"""Each function draws what it is given, where it is given it, and returns the axes."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from jaxnets import plotting

RING = np.exp(2j * np.pi * np.linspace(0, 1, 65))
POINTS = np.array([[0.5 + 0.2j, -0.3], [1j, 0.1 - 0.7j]])
GRID = np.linspace(-1, 1, 9)


@pytest.fixture
def ax():
    return plotting.figure()


DRAWINGS = {
    "eigenvalues": lambda ax: plotting.eigenvalues(POINTS, ax),
    "boundary": lambda ax: plotting.boundary([RING], ax),
    "density": lambda ax: plotting.density(GRID, GRID, np.ones((9, 9)), ax),
    "marks": lambda ax: plotting.marks(POINTS[0], ax),
    "histogram": lambda ax: plotting.histogram(GRID, ax),
    "line": lambda ax: plotting.line(GRID, GRID**2, ax),
}


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS.keys())
def test_returns_the_axes_given_or_new_ones(draw, ax):
    assert draw(ax) is ax
    new = draw(None)
    assert new is not ax
    plt.close(new.figure)


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS.keys())
def test_axes_are_labelled(draw, ax):
    draw(ax)
    assert ax.get_xlabel() in ("Re λ", "λ") and ax.get_ylabel() in ("Im λ", "density")


def test_eigenvalues_are_points_of_a_plane_with_equal_axes(ax):
    plotting.eigenvalues(POINTS, ax)
    (points,) = ax.collections
    np.testing.assert_allclose(points.get_offsets(), np.stack([POINTS.real.ravel(), POINTS.imag.ravel()], -1))
    assert ax.get_aspect() == 1 and points.get_rasterized()


def test_more_points_are_fainter():
    few, many = (plotting.eigenvalues(np.zeros(size, complex)).collections[0] for size in (100, 100_000))
    assert few.get_alpha() > many.get_alpha() and few.get_sizes()[0] > many.get_sizes()[0]
    plt.close("all")


def test_boundary_draws_every_curve_under_one_entry_of_the_legend(ax):
    plotting.legend(plotting.boundary([RING, 0.4 * RING], ax, label="theory"))
    assert [np.abs(line.get_xydata()[:, 0]).max() for line in ax.lines] == pytest.approx([1, 0.4])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["theory"]


def test_layers_lie_in_their_order_whatever_the_order_of_calls(ax):
    plotting.boundary([RING], ax)
    plotting.eigenvalues(POINTS, ax)
    plotting.density(GRID, GRID, np.ones((9, 9)), ax, label=None)
    points, mesh = ax.collections
    assert mesh.get_zorder() < points.get_zorder() < ax.lines[0].get_zorder()


def test_density_shows_nan_and_zero_as_nothing_and_a_divergence_within_the_scale(ax):
    values = np.ones((9, 9))
    values[0, 0], values[4, 4], values[8, 8] = np.nan, 1e6, 0
    plotting.density(GRID, GRID, values, ax)
    (mesh,) = ax.collections
    np.testing.assert_allclose(mesh.get_clim(), (10**-0.5, 10**0.5))
    hidden = np.ma.getmaskarray(mesh.get_array()).reshape(9, 9)
    assert np.argwhere(hidden).tolist() == [[0, 0], [8, 8]]


def test_density_tells_every_value_from_none_and_a_ring_from_a_core(ax):
    values = np.where(np.abs(GRID) < 0.5, 1.0, 0.02) * np.ones((9, 1))
    plotting.density(GRID, GRID, values, ax)
    (mesh,) = ax.collections
    lightness = mesh.cmap(mesh.norm([0.02, 0.05, 1.0]))[:, :3] @ [0.299, 0.587, 0.114]
    assert lightness[0] < 0.97 and np.all(np.diff(lightness) < -0.05)


def test_histogram_is_a_density_of_the_given_mass(ax):
    values = np.random.default_rng(0).normal(size=(3, 100))
    plotting.histogram(values, ax, mass=0.3, num_bins=20)
    heights, limits, _ = ax.patches[0].get_data()
    assert heights @ np.diff(limits) == pytest.approx(0.3)
    assert (limits[0], limits[-1]) == (values.min(), values.max())


def test_legend_hides_no_data(ax, tmp_path):
    plotting.legend(plotting.eigenvalues(POINTS, ax, label="eigenvalues"))
    plotting.save(ax, tmp_path / "figure.png")
    assert ax.get_legend().get_window_extent().y0 >= ax.get_window_extent().y1


def test_save_writes_the_metadata(ax, tmp_path):
    plotting.save(plotting.eigenvalues(POINTS, ax), tmp_path / "figure.png", metadata={"Software": "a test"})
    content = (tmp_path / "figure.png").read_bytes()
    assert content.startswith(b"\x89PNG") and b"Software\0a test" in content


def test_dimension_on_a_logarithmic_axis(ax):
    assert plotting.dimension([1, 2, 3], [1e-3, np.nan, 1e-1], ax, style="o", label="PR") is ax
    (points,) = ax.lines
    assert ax.get_yscale() == "log" and ax.get_ylabel() == "dimension PR / N"
    np.testing.assert_array_equal(points.get_ydata(), [1e-3, np.nan, 1e-1])
    new = plotting.dimension([1], [0.1])
    assert new is not ax
    plt.close(new.figure)


@pytest.mark.parametrize("scale", [plotting.COLD, plotting.WARM])
def test_shades_go_from_dark_to_light_and_are_legible_on_white(scale):
    luminance = np.array([np.dot([0.2126, 0.7152, 0.0722], color[:3]) for color in plotting.shades(5, scale)])
    assert np.all(np.diff(luminance) > 0.05) and luminance[-1] < 0.8
    assert len(plotting.shades(1)) == 1


def test_no_marks_leave_no_entry_in_the_legend(ax):
    plotting.marks(np.empty(0, complex), ax, label="outliers")
    assert ax.get_legend_handles_labels() == ([], [])


def test_legend_in_one_row(ax):
    for label in "abcde":
        plotting.line(GRID, GRID, ax, label=label)
    rows = []
    for columns in (None, 5):
        plotting.legend(ax, num_columns=columns)
        ax.figure.draw_without_rendering()
        rows.append(len({round(text.get_window_extent().y0) for text in ax.get_legend().get_texts()}))
    assert rows == [3, 1]


def test_names_of_many_units():
    """As many names as there is room for, each beside its row."""
    names = [f"unit {k}" for k in range(90)]
    ax = plotting.raster(np.arange(3.0), np.ones((3, 90)), plotting.panels(1)[0], names=names)
    ax.figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
    assert 10 < len(boxes) < 40 and all(below.y1 < above.y0 for below, above in zip(boxes, boxes[1:], strict=False))
    for place, label in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True):
        assert label.get_text() == f"unit {place - 1:.0f}"


def test_states_and_their_graph():
    activities = np.array([[1, 0, 1], [0, 1, 0.5]])
    ax = plotting.patterns(activities, ["a", "b"])
    mesh = ax.collections[0]
    np.testing.assert_array_equal(np.ravel(mesh.get_array()), activities.T.ravel())
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b"]
    ax = plotting.patterns(activities, ["a", "b"], unit_names=["u", "v", 20 * "w"])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["u", "v", 16 * "w" + "…"]
    # Units lead from the first to the second; what stays has no arrow.
    ax = plotting.graph(np.array([0.75, 0.25]), np.array([[2, 1], [0, 3]]), ["a", "b"], colors=["k", "r"])
    arrows = [text for text in ax.texts if text.get_text() == ""]
    assert len(arrows) == 1 and {"a", "b"} <= {text.get_text() for text in ax.texts}
    large, small = ax.collections[0].get_sizes()
    assert large > small
    # A name stands beside its disc.
    beside = [np.hypot(*text.xyann) for text in ax.texts if text.get_text() in ("a", "b")]
    assert beside[0] > np.sqrt(large) / 2 + 5 and beside[1] > np.sqrt(small) / 2 + 5
    # No state is without a column, and lines between many rows do not cover them.
    for num_units in (12, 300):
        ax = plotting.patterns(np.zeros((3, num_units)), ["a", "b", "c"])
        ax.figure.canvas.draw()
        pixels = np.asarray(ax.figure.canvas.buffer_rgba())[..., 0]
        box = ax.get_window_extent().extents.astype(int)
        inside = pixels[-box[3] : -box[1], box[0] : box[2]]
        assert 0.85 < np.mean(inside == int("ec", 16))
