"""The row stream: a trained net as rows in, rows out, every pixel computed once."""
