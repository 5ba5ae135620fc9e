"""PNG, JPEG and the other formats of photographs."""
