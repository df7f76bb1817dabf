"""DNS verification of mail domains: resolver, SPF, DKIM, DMARC, the rest of the ground, and fixes that are proved."""
