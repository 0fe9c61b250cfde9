"""AWS as everything here uses it: S3, whose credentials a call is made with, errors that say what could not be done."""
