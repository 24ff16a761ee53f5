"""Other designs on the same networks and technology: a dense processor, rows of chips."""
