"""Builders of functional `keras.Model`s with good defaults; any other `keras.Model` serves as well."""
