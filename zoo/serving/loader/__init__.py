"""SavedModels in TF Serving's C++ loader, without Python TensorFlow."""
