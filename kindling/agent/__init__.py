"""The build agent beside CI runners: takes requests as files in a folder that it shares with jobs,
builds images by Kaniko pods, applies environments and runs scripts, and answers as files.

`signals` knows the files and decides what they mean; `folder` is the only one that touches them;
`context`, `orders` and `pods` are decisions about one request; `kaniko`, `applying` and `scripts`
carry requests out; `agent` joins them.
"""
