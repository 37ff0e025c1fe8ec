"""Where people look: figures, three-dimensional views and the book."""
