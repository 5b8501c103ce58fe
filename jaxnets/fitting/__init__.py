"""Fits of parameters: an engine that takes any loss, and the losses of spectra, activity and recordings."""

from .engine import Fit, NotIdentifiable, Profile, fit, least_squares, profile, with_covariance
from .parameters import Fixed, Free, Interval, Positive, Simplex, Transform, draw_starts
from .recordings import RecordingFit, fit_recording
from .targets import (
    SpectralStatistics,
    autocovariance_misses,
    dimension_misses,
    edge_misses,
    onset_misses,
    population_time_misses,
    spectral_statistics,
    spectrum_misses,
    void_radius,
)

__all__ = [
    "Fit",
    "Fixed",
    "Free",
    "Interval",
    "NotIdentifiable",
    "Positive",
    "Profile",
    "RecordingFit",
    "Simplex",
    "SpectralStatistics",
    "Transform",
    "autocovariance_misses",
    "dimension_misses",
    "draw_starts",
    "edge_misses",
    "fit",
    "fit_recording",
    "least_squares",
    "onset_misses",
    "population_time_misses",
    "profile",
    "spectral_statistics",
    "spectrum_misses",
    "void_radius",
    "with_covariance",
]
