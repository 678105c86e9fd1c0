"""The images of router, control and MLflow: a Dockerfile each, and what they install (`requirements`)."""
