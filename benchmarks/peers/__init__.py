"""The sides of a comparison: pyshard and its peers, behind one interface."""
