"""Cloud Storage: its JSON API over buckets and objects that are plain files.

A request arrives at ``routes`` (buckets), ``object_routes`` or ``upload_routes``; ``batch`` unpacks many in one.
``resources`` reads its parameters and writes the answer; ``multipart`` splits bodies, ``uploads`` keeps resumable ones.
``objects`` does what is asked, with generations and preconditions (``stored``): ``buckets`` are folders, ``drafts`` are
bytes as they arrive, ``layout`` says where these lie on disk, ``attributes`` keeps what is known of them beside.
What goes back is an object's bytes (``downloads``) or a page of names (``listing``).
"""
