"""The launcher: a small single-threaded program that starts containers, and what it is made of.

It runs under `python -I -S`, so it may import the standard library's small modules and this
package alone; `wire` and the plain values are shared with the process that holds it. Nothing here
knows asyncio.
"""
