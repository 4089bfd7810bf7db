"""Objectives as plain functions: tensors in, one value per example out."""
