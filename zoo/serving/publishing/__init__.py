"""Write and publish models as SavedModels that TF Serving runs."""
