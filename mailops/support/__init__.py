"""The support bundle: one zip that tells a case to somebody who may not know who it is about.

::

    gather ► evidence (DNS) ► clean (stand-ins) ► scan (shares no code with clean) ► preview ► zip
                                                                                      └► the key stays here
"""

from .service import Bundle, Support

__all__ = ["Bundle", "Support"]
