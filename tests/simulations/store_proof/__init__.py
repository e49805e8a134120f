"""The proofs of the store, an attack a module; `tests/simulations/store.py` runs them."""
