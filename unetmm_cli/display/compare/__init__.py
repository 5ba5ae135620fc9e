"""Two images on one page that opens from disk: deep zoom, differences, charts, a verdict.

values      stored values as bytes: the same stretch for both, and what differs
pyramid     bytes by rows -> tiles at every level of zoom
build       both images, once from top to bottom -> tiles, histograms, a profile
charts      curves as SVG
page        all of it as HTML
making      the page of two files, made and written
vendor      OpenSeadragon, the viewer, which is not ours
"""
