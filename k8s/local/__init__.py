"""A cluster of one's own: `make kind-up`, `kind-demo`, `kind-down` (docs/cluster.md). Start with `steps`."""
