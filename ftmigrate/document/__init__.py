"""Text to positioned tree, and back."""
