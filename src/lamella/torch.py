"""`lamella.torch`: the short name of `lamella.integrations.torch`."""

from lamella.integrations.torch import commit as commit
from lamella.integrations.torch import from_torch as from_torch
from lamella.integrations.torch import load as load
from lamella.integrations.torch import load_state_dict as load_state_dict
from lamella.integrations.torch import save as save
from lamella.integrations.torch import to_torch as to_torch
from lamella.integrations.torch_graph import capture as capture
