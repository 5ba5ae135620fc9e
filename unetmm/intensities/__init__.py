"""Every rule about values: which are measured, how a net sees them, how they are stored again.

range.py says which stored values are 0 and 1 to a net, validity.py which hold a measurement, and
stored.py how a net's answer becomes stored values again. kernel.py is the compiled form of that
last step.
"""
