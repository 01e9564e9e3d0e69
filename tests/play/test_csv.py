"""The page reads text files as the command line does: the same columns, names and numbers."""

import gzip
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from discoformer.errors import DataWarning
from discoformer.io.tables import read_table
from discoformer.io.text import ReadOptions

FRACTIONS = "1.5,2.25\n3.5,4.75\n0.25,9.5\n"
TEXTS = [
    "1,2\n3,4\n",
    "a,b\r\n1,2\r\n\r\n3,4\r\n",
    "\ufeffa;b\n1,5;2\n3;4,25\n",
    "a;b\n1.5;2\n3;4.25\n",
    "a\tb\n1,5\t2\n3\t4,25\n",
    "# made by hand\n# x y\n1.5 2e3\n -3  .25\n",
    "0,1\n5,6\n7,8\n",
    "name,a,b,none\nx,1,2,\ny,NA,4,\nz,5,?,n/a\n",
    '"a,1","b\n2",c\n1,2,"x;y"\n3,4,z\n',
    "2020,2021\n" + FRACTIONS,
    "4,5\n" + FRACTIONS,
    "year,2020\n1,5\n2,6\n",
    "12,15\n13,14\n11,18\n10,20\n",
    "5.1,3.5,setosa\n4.9,3,setosa\n",
]


@pytest.fixture(scope="module")
def page(browser: Any, site: str) -> Iterator[Any]:
    """The page."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(site)
    yield page
    context.close()


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("packed", [False, True])
def test_the_page_reads_as_the_command_line(page: Any, tmp_path: Path, text: str, packed: bool) -> None:
    name = "t.csv.gz" if packed else "t.csv"
    data = gzip.compress(text.encode()) if packed else text.encode()
    (tmp_path / name).write_bytes(data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        table = read_table(tmp_path / name, None, ReadOptions(missing="keep"))
    found = page.evaluate(
        "async ([name, data, url]) => {"
        "  const { readCsv } = await import(url);"
        "  const read = await readCsv(new File([new Uint8Array(data)], name));"
        "  return { ...read, columns: read.columns.map((column) => [...column]) }; }",
        [name, list(data), f"{page.url}csv.js"],
    )
    np.testing.assert_array_equal(np.transpose(np.array(found["columns"], dtype=np.float64)), table.values)
    assert found["names"] == list(table.columns or (f"column {j + 1}" for j in range(table.values.shape[1])))
    assert len(found["notes"]) == len(caught)
