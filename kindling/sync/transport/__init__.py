"""Ways to a container: an agent that is mounted there or placed for the time of the link, or `tar`
where neither can be.

`connecting.connect` chooses; `link.AgentLink` and `tar.TarLink` are what comes of it, behind
`kindling.sync.protocol.Link`.
"""
