"""The embedded registry: the OCI distribution protocol over an image layout."""
