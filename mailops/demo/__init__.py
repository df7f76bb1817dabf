"""The demonstration: a small organisation, a month of its mail, and everything mailops does with it, on loopback.

``python -m mailops.demo`` makes the workspace and plays the month; ``python -m mailops.demo with-peers COMMAND…`` runs
a command (JupyterLab, voila) while the demonstration's mail servers are up, so that *Send Now* reaches somebody.
"""
