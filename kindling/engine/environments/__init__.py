"""What commands do in a cluster beside a session: look at what stands, deploy, set variables, read
logs, clear away."""
