"""Who is who: the cluster's own authority, its certificates, and the tokens that it gives out.

Imports nothing of the other rooms but `model`; nothing of the network ever comes in here.
"""
