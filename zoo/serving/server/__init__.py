"""A development server with TF Serving's interface, on the C++ loader that TF Serving is built on."""
