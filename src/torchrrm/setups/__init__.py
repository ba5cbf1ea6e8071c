"""Each problem set up to be worked on: where its instances come from, what commands, recipes and the bench need of it.

A package a family, with the same names in each: `sources` (instances of scenarios and snapshots, as tasks), `given`
(one instance that somebody brought, with its places), `scene` (it, allocated, to look at), `setup` (the `Setup` that
`torchrrm.setups.protocols` describes) and `cases` (the settings of the benchmark). `demands` has what a run over slots
needs besides. `torchrrm.setups.workbench` puts them together by name; `torchrrm.setups.registry` lists them all.
"""
