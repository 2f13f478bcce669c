"""Facts about the world, as data with a source, and typed answers to questions about them."""
