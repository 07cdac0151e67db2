"""What runs in the peers' environments: each job loads a model and gives a function to time."""
