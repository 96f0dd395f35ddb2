"""The rules of `live_update`: what a change of files means to a container, decided without one.

Carry it, rebuild the image, or do nothing; and after carrying, what the containers' answers mean.
The steps are those of the language (`kindling.lang.declared`), the rules Tilt's, and each place
where they differ says so.
"""
