"""unetmm in napari: restores a layer, and shows before what it would make of the part in view."""
