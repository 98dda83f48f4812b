"""The page's limits: what one visitor may send, how long it may take, and how much is processed at once."""

# One text
MAX_TEXT_CHARACTERS = 40_000
PART_CHARACTERS = 20_000  # of a longer document, which is summarized in parts; about 25 chunks
MAX_TEXT_TOKENS = 16_000  # half of those that may wait for the engine by default; the other half is the API's
SHORT_TEXT_TOKENS = 1_500  # a longer text is decoded in several chunks at once
TEXT_TIMEOUT_SECONDS = 120.0

# Admission to the engine
MAX_WAITING_TEXTS = 96
MAX_WAITING_TEXTS_PER_VISITOR = 64

# Requests to the page. Behind a proxy that is not trusted, all visitors have one address, and so one share.
MAX_BODY_BYTES = 1 << 20  # of a request that is no upload
BODY_SECONDS = 30.0  # in which it has to arrive
MAX_EVENTS = 256  # that wait or run
MAX_EVENTS_PER_VISITOR = 128
MAX_EVENT_BYTES = 32 << 20  # the texts of all of them; half of it for one visitor
MAX_STREAMS = 1024  # open at once; a tab holds one or two
MAX_STREAMS_PER_VISITOR = 512
MAX_SESSIONS = 512  # whose state is kept; the oldest is forgotten first

# Uploads
MAX_FILES = 50  # in one batch
MAX_FILE_BYTES = 10 << 20
MAX_UPLOAD_BYTES = 100 << 20  # all files of one request; less where the folder for them is small
MAX_STORED_BYTES = 256 << 20  # all files of all visitors; half of it for one visitor
UPLOAD_SECONDS = 120.0  # in which an upload has to arrive
UPLOAD_LIFETIME_SECONDS = 3600  # a batch can be run again until its files are deleted
UNUSED_UPLOAD_SECONDS = 300  # between an upload and the event that uses it
FILES_AT_ONCE = 2  # of one batch; each waits for admission like any other text

# Reading files, each in a child process
READER_BASE_SECONDS, READER_SECONDS_PER_MB, READER_MAX_SECONDS = 4, 4, 20  # processor time for one file
READER_WAIT_FACTOR = 3  # times that in all, since the child yields to requests
READER_STARTUP_SECONDS = 5  # allowance for starting it
READER_NICENESS = 5
READERS_AT_ONCE = 2  # of all visitors
READERS_MEMORY_BYTES = 1 << 30  # of all of them
READERS_MEMORY_SHARE = 4  # or a fourth of the container's memory, if that is less
READER_MIN_BYTES = 256 << 20  # rather one child at a time than children of less
MAX_DOCX_BYTES = 64 << 20  # unpacked
MAX_PDF_PAGES = 300
MAX_DOCUMENT_CHARACTERS = 400_000  # of a file; about 130 full pages, read in minutes
READER_MAX_OUTPUT_BYTES = 12 * MAX_DOCUMENT_CHARACTERS + 4096  # as JSON
