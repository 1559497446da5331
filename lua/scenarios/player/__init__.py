"""A server that plays one scenario."""
