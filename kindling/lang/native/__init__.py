"""The builtins: what each name of the language does, one module for each subject.

A builtin is a function of its `Call` and of the arguments in the order in which its wrapper in
`kindling/builtins/*.star` hands them over. It declares or reads; it says what is wrong by raising a
ConfigError without a place, which the session adds.
"""
