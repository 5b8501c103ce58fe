"""Fits of parameters: an engine that takes any loss, and the losses of spectra, activity and recordings."""

from .engine import Fit, NotIdentifiable, Profile, fit, least_squares, profile
from .parameters import Fixed, Free, Interval, Positive, Simplex, Transform, draw_starts

__all__ = [
    "Fit",
    "Fixed",
    "Free",
    "Interval",
    "NotIdentifiable",
    "Positive",
    "Profile",
    "Simplex",
    "Transform",
    "draw_starts",
    "fit",
    "least_squares",
    "profile",
]
