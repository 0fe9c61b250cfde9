"""What there is, shown: production's answer, status, history, reports, images. Nothing is changed."""
