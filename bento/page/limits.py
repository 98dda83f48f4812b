"""The page's limits: what one visitor may send, how long it may take, and how much is processed at once."""

# One text
MAX_TEXT_CHARACTERS = 40_000  # about a third of the tokens that may wait for the engine
PART_CHARACTERS = 20_000  # of a longer document, which is summarized in parts; about 25 chunks
SHORT_TEXT_CHARACTERS = 4_000  # a longer text is decoded in several chunks at once
TEXT_TIMEOUT_SECONDS = 120.0

# Admission to the engine
MAX_WAITING_TEXTS = 64

# Uploads
MAX_FILES = 50  # in one batch
MAX_FILE_BYTES = 10 << 20
MAX_UPLOAD_BYTES = 100 << 20  # all files of one request
MAX_BODY_BYTES = 1 << 20  # any other request
UPLOAD_LIFETIME_SECONDS = 3600  # a batch can be run again until its files are deleted
FILES_AT_ONCE = 2  # of one batch; each waits for admission like any other text

# Reading one file
READER_SECONDS = 20  # processor time
READER_STARTUP_SECONDS = 5  # allowance for starting the reader's process
READER_MEMORY_BYTES = 1 << 30
READERS_AT_ONCE = 2  # of all visitors
MAX_DOCX_BYTES = 64 << 20  # unpacked
MAX_PDF_PAGES = 300
MAX_DOCUMENT_CHARACTERS = 400_000  # of a file; about 130 full pages, read in minutes
