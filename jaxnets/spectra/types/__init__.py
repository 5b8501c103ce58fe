"""Spectra of units with cell types or time constants, made by `spectra.law`."""
