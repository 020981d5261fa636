"""How fast it is: ceilings, Countermand and peers, measured side by side in one run."""
