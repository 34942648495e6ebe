"""The one rule book: what may be wrong with a data set, and what every command does about it.

Each rule answers one question of the rows of one split: which rows it is about, what becomes of them (kept, clipped,
dropped, or an error that stops), and one sentence for people. `book.judge` asks them all. Reading a split
(`annotations.splits.read_split`: training, testing, preparing, statistics) acts on the answers, `check` prints them,
`annotations.repair` writes the data set that they allow, evaluation and conversion ask single rules.
"""
