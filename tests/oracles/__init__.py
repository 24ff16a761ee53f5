"""A second statement of the number contract, written to be read and to share no code with the package.

``tables`` holds the codes, tables and roundings; ``network`` evaluates plain networks of Python lists.
Only Python integers and ``fractions`` compute here: nothing is rounded unless the contract rounds.
"""
