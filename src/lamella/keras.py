"""`lamella.keras`: the short name of `lamella.integrations.keras`."""

from lamella.integrations.keras import capture as capture
