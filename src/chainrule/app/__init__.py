"""The screens: a command line and reports, over jobs that know nothing of them."""
