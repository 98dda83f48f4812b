"""The progress bar of a loop."""

from finetune.reports.progress import track


def test_items_are_read_one_by_one():
    """A data set is larger than the memory."""

    class Rows(list):
        read = 0

        def __iter__(self):
            for item in super().__iter__():
                self.read += 1
                yield item

    rows = Rows("abc")
    items = track(rows, "rows")
    assert (next(items), rows.read) == ("a", 1)
    assert [*items] == ["b", "c"]
