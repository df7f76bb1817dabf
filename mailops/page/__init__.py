"""The look of what mailops shows: colours and small pieces of HTML, the page of a report, and the door for HTML that
came by mail. No room of mailops is asked here, so that cards, reports and the index look alike."""
