"""The icon: a link with the picture in it for our pages, and the file that browsers ask for at /favicon.ico."""

from pathlib import Path

LINK = (
    '<link rel="icon" href="data:image/svg+xml,'
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'><rect width='32' height='32' rx='7' fill='%230e5a4c'/>"
    "<path d='M9 10h14M9 16h14M9 22h8' stroke='white' stroke-width='2.6' stroke-linecap='round'/></svg>\">"
)
ICON_FILE = Path(__file__).parent / "page/static/favicon.ico"
