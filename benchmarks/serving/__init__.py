"""What serving costs: this server beside others, all asked the same of the same upstream."""
