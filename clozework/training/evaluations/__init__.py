"""What trained models get right and wrong, on examples that they have not been trained on."""

__all__: list[str] = []
