"""Why a network does not learn: rules that look at data, network and history, each a declaration with its thresholds.

`finding` says what is found, `case` what rules look at, `registry` what a rule is; one file a family of rules.
"""
