"""A plan carried out: rows are read, go through the engine, and are written by chunk.

of_array.py, of_dask_array.py and of_file.py restore what a user gives; each makes a job (job.py)
and has its tasks (task.py) carried out (scheduler.py). A task reads (reading.py), streams
(streaming.py) and writes (writing.py). cluster/ shares one file among many machines.
"""
