"""The one door to what became of a mail: states, attempts, facts and the counters are written here and nowhere else.

States are the truth for acting, facts for telling; both are written in one commit, and what follows of a fact elsewhere
(threads, the suppression list) is applied or owed in it too.
"""

from .book import Book, note
from .facts import Fact, Listener, key_of

__all__ = ["Book", "Fact", "Listener", "key_of", "note"]
