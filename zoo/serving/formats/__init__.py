"""What is on disk and on the wire: exports and their folders, configurations, tensors and signatures."""
