"""Words a command's facts for people. Knows the facts' keys and nothing of how they are computed."""
