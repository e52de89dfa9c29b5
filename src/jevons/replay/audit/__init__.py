"""An audit of recorded traffic: what it burned, what was wasted, and what each lever would have saved by replay.

`run.audit` reads files of several formats (`files`, `read_*`) as one stream of calls (`seen.Seen`), books each call to
its session (`book`), replays the gateway's own levers over it (`levers`), and gives sums (`sums`). `page` draws them.
"""
