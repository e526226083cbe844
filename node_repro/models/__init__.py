"""Networks. A model takes a solver and a gradient method as arguments and knows no task."""
