"""``make bench BENCH="--only peers"``: the same small job done by the bridge and by what people use instead.

The job: a signed webhook of 2 KB is verified and acknowledged, a ticket is POSTed to a help desk, and for every second
event a text message is POSTed as well; both POSTs are tried again when they fail.
"""
