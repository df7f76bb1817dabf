"""The app that an admin keeps open: home, search and lists as pages without a kernel, the notebooks as pages within.

::

    mailops app ─► Jupyter Server on loopback ─┬─ handlers  /mailops/…           (blocks of ``page`` made of ``Ops``)
                                               └─ acting    /mailops/page/NAME   (what acts or guides: drawn by voila)

Two tokens: *look* opens the pages of this room and nothing else; *act* is the server's own, and opens the notebooks as
well. With ``--read-only`` nobody is given the second, and voila is not loaded.

``pages`` are functions of an ``Ops`` that return blocks; ``shell`` is the frame around them; ``bar`` reads a notebook's
parameters from an address; ``handlers`` and ``serve`` are the wiring. ``mailops.app`` is a Jupyter Server extension, so
the pages stand in JupyterLab's server too.
"""

from .extension import load as _load_jupyter_server_extension
from .extension import points as _jupyter_server_extension_points

__all__ = ["_jupyter_server_extension_points", "_load_jupyter_server_extension"]
