"""What every mode that writes iptables rules shares: spellings, the text of one table, and its way back."""
