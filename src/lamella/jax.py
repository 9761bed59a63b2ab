"""`lamella.jax`: the short name of `lamella.integrations.jax`."""

from lamella.integrations.jax import commit as commit
from lamella.integrations.jax import from_jax as from_jax
from lamella.integrations.jax import load as load
from lamella.integrations.jax import load_tree as load_tree
from lamella.integrations.jax import save as save
from lamella.integrations.jax import to_jax as to_jax
from lamella.integrations.jax_graph import capture as capture
