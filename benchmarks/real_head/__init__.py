"""A head that was not made here: found in its slices, compared with phantoms, given bleedings."""
