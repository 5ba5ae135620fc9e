"""Every rule about values: range, validity, stand-ins, stored types."""
