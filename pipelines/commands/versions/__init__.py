"""What a person decides about a version, or about production: approve, reject, evaluate again, roll back, retire. `decisions` and `production_change`
are what they share.
"""
