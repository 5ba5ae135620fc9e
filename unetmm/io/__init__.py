"""Images in and out, by box, with bounded memory; one folder a family of formats."""
