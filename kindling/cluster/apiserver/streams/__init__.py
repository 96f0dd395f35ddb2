"""Live streams over WebSockets: channels for exec and attach, channels or SPDY for port-forward."""
