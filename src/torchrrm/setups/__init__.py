"""Each problem set up to be worked on: where its instances come from, what commands, recipes and the bench need of it.

A package a family, with the same names in each: `sources` (instances of scenarios and snapshots), `setup` (the
`Setup` that `torchrrm.setups.workbench` describes). `torchrrm.setups.registry` lists them all.
"""
