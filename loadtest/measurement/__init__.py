"""What a load measured: requests, percentiles with their confidence intervals, objectives."""
