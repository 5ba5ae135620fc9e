"""A preview as a page, as one picture, and in the terminal.

pictures    stored values as pictures, and what differs between them
content     what is said of each crop, run and picture
page sheet  the HTML page; all pictures in one
inline      that one in terminals that can show it
"""
