"""What tests of more than one room begin with: an account with versions in it, and short forms of what is done with them."""
