"""Numbers and figures of the paper, computed from the code here."""
