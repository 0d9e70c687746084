"""The Cloud Storage JSON API, judged by Google's own client; where that hides the protocol, by plain requests."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import resource
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import google_crc32c
import pytest
import requests
from google.api_core import exceptions
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY

from pydag_gcp.local.admin import Service
from pydag_gcp.local.faults import Faults
from pydag_gcp.local.serving import HttpServer
from pydag_gcp.local.storage.objects import Objects
from pydag_gcp.local.storage.routes import routes

CHUNK = 256 * 1024


@pytest.fixture
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


def _reason(response: requests.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["errors"][0]["reason"]


class TestBuckets:
    """https://cloud.google.com/storage/docs/json_api/v1/buckets"""

    def test_create_get_list_delete(self, storage_client: storage.Client) -> None:
        bucket = storage_client.create_bucket("one", location="eu")
        storage_client.create_bucket("two")
        found = storage_client.get_bucket("one")
        assert (found.location, found.storage_class, found.metageneration) == ("EU", "STANDARD", 1)
        assert found.time_created is not None
        assert [each.name for each in storage_client.list_buckets()] == ["one", "two"]
        assert [each.name for each in storage_client.list_buckets(prefix="t")] == ["two"]
        assert [each.name for each in storage_client.list_buckets(page_size=1)] == ["one", "two"]
        bucket.delete()
        assert storage_client.lookup_bucket("one") is None

    def test_a_project_lists_its_own_buckets_and_those_made_by_hand(
        self, storage_client: storage.Client, objects: Objects
    ) -> None:
        storage_client.create_bucket("mine")
        storage_client.create_bucket("theirs", project="another-project")
        (objects.root / "by-hand").mkdir()
        assert [each.name for each in storage_client.list_buckets()] == ["by-hand", "mine"]

    def test_a_taken_name_is_a_conflict(self, storage_client: storage.Client, bucket: storage.Bucket) -> None:
        with pytest.raises(exceptions.Conflict, match="you already own it"):
            storage_client.create_bucket("data")

    def test_a_bucket_with_objects_is_not_deleted(self, bucket: storage.Bucket) -> None:
        bucket.blob("a").upload_from_string("1")
        with pytest.raises(exceptions.Conflict, match="is not empty"):
            bucket.delete()
        bucket.delete(force=True)

    def test_a_missing_bucket_is_not_found(self, storage_client: storage.Client) -> None:
        with pytest.raises(exceptions.NotFound, match="The specified bucket does not exist"):
            storage_client.get_bucket("missing")
        with pytest.raises(exceptions.NotFound, match="The specified bucket does not exist"):
            list(storage_client.list_blobs("missing"))
        with pytest.raises(exceptions.NotFound, match="The specified bucket does not exist"):
            storage_client.bucket("missing").blob("a").upload_from_string("x")

    def test_labels_are_patched_one_by_one(self, bucket: storage.Bucket, http: requests.Session) -> None:
        bucket.labels = {"a": "1", "b": "2"}
        bucket.patch()
        url = f"{bucket.client._connection.API_BASE_URL}/storage/v1/b/data"
        changed = http.patch(url, json={"labels": {"a": None, "c": "3"}}).json()
        assert changed["labels"] == {"b": "2", "c": "3"}
        assert changed["metageneration"] == "3"
        stale = http.patch(url, json={}, params={"ifMetagenerationMatch": 1})
        assert _reason(stale) == (412, "conditionNotMet")

    def test_settings_that_would_have_no_effect_are_refused(self, bucket: storage.Bucket) -> None:
        bucket.versioning_enabled = True
        with pytest.raises(exceptions.MethodNotImplemented, match="versioning"):
            bucket.patch()
        bucket.reload()
        bucket.versioning_enabled = False
        bucket.patch()

    def test_what_has_no_route_is_refused_by_name(self, bucket: storage.Bucket) -> None:
        with pytest.raises(exceptions.MethodNotImplemented, match="GET /storage/v1/b/data/iam"):
            bucket.get_iam_policy()


class TestUploads:
    """https://cloud.google.com/storage/docs/json_api/v1/objects/insert"""

    @pytest.mark.parametrize("size", [0, 1, CHUNK, 2 * CHUNK + 1, 3_000_000])
    @pytest.mark.parametrize("chunk_size", [None, CHUNK])
    def test_multipart_and_resumable_uploads_arrive_whole(
        self, bucket: storage.Bucket, size: int, chunk_size: int | None
    ) -> None:
        data = os.urandom(size)
        blob = bucket.blob("a/b.bin", chunk_size=chunk_size)
        blob.metadata = {"k": "ü"}
        blob.upload_from_file(io.BytesIO(data), content_type="application/x-test", checksum="md5")
        found = bucket.get_blob("a/b.bin")
        assert (found.size, found.content_type, found.metadata) == (size, "application/x-test", {"k": "ü"})
        assert found.md5_hash == base64.b64encode(hashlib.md5(data).digest()).decode()
        assert found.crc32c == base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()
        assert found.download_as_bytes(checksum="md5") == data
        assert found.download_as_bytes(checksum="crc32c") == data

    def test_an_upload_of_unknown_length(self, bucket: storage.Bucket) -> None:
        with bucket.blob("a").open("wb", chunk_size=CHUNK) as file:
            for _ in range(5):
                file.write(b"x" * 200_000)
        assert bucket.get_blob("a").size == 1_000_000

    def test_a_simple_upload(self, storage_url: str, bucket: storage.Bucket, http: requests.Session) -> None:
        url = f"{storage_url}/upload/storage/v1/b/data/o?uploadType=media&name={quote('a b/ü')}"
        answer = http.post(url, data=b"hello", headers={"Content-Type": "text/plain"})
        assert (answer.status_code, answer.json()["name"], answer.json()["contentType"]) == (200, "a b/ü", "text/plain")
        assert answer.json()["kind"] == "storage#object"

    def test_names_in_any_form_come_back(self, bucket: storage.Bucket) -> None:
        names = ["a", "a/b", "a/compose", "a/copyTo/b/x/o/y", "x//y", "..x/../y", "d/", "é %41?#&+", "n" * 1024]
        for name in names:
            bucket.blob(name).upload_from_string(name)
        assert sorted(blob.name for blob in bucket.list_blobs()) == sorted(names)
        assert [bucket.blob(name).download_as_text() for name in names] == names

    @pytest.mark.parametrize("upload_type", ["media", "multipart", "resumable"])
    def test_bytes_that_are_not_those_announced_are_refused(
        self, storage_url: str, bucket: storage.Bucket, http: requests.Session, upload_type: str
    ) -> None:
        """https://cloud.google.com/storage/docs/data-validation"""
        wrong = base64.b64encode(b"0" * 16).decode()
        url = f"{storage_url}/upload/storage/v1/b/data/o?uploadType={upload_type}&name=a"
        if upload_type == "media":
            answer = http.post(url, data=b"hello", headers={"X-Goog-Hash": f"md5={wrong}"})
        elif upload_type == "multipart":
            body = f'--B\r\n\r\n{{"md5Hash": "{wrong}"}}\r\n--B\r\n\r\nhello\r\n--B--'
            answer = http.post(url, data=body, headers={"Content-Type": "multipart/related; boundary=B"})
        else:
            session = http.post(url, json={"md5Hash": wrong}).headers["Location"]
            answer = http.put(session, data=b"hello")
        assert _reason(answer) == (400, "invalid")
        assert "Provided MD5 hash" in answer.json()["error"]["message"]
        assert bucket.get_blob("a") is None

    @pytest.mark.parametrize(
        ("content_type", "body"),
        [
            ("multipart/related", b"--B\r\n\r\n{}\r\n--B\r\n\r\nhello\r\n--B--"),
            ("multipart/related; boundary=B", b"--B\r\n\r\n{}\r\n--B\r\n\r\nhello"),
            ("multipart/related; boundary=B", b"--B\r\n\r\n{}\r\n--B--"),
            ("multipart/related; boundary=B", b"--B\r\n\r\nnot json\r\n--B\r\n\r\nhello\r\n--B--"),
        ],
    )
    def test_a_malformed_multipart_upload_leaves_nothing(
        self, storage_url: str, bucket: storage.Bucket, http: requests.Session, content_type: str, body: bytes
    ) -> None:
        url = f"{storage_url}/upload/storage/v1/b/data/o?uploadType=multipart&name=a"
        answer = http.post(url, data=body, headers={"Content-Type": content_type})
        assert answer.status_code == 400
        assert list(bucket.list_blobs()) == []

    def test_an_upload_that_breaks_off_leaves_nothing(self, storage_url: str, objects: Objects) -> None:
        objects.create_bucket("data")
        port = int(storage_url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(
                b"POST /upload/storage/v1/b/data/o?uploadType=media&name=a HTTP/1.1\r\nHost: x\r\n"
                b"Content-Length: 1000\r\n\r\n" + b"x" * 500
            )
        for _ in range(200):
            if not any(objects.spool.iterdir()):
                break
            threading.Event().wait(0.01)
        assert list(objects.spool.iterdir()) == []
        assert objects.find("data", "a") is None

    def test_fields_that_are_not_implemented_are_refused(
        self, storage_url: str, bucket: storage.Bucket, http: requests.Session
    ) -> None:
        url = f"{storage_url}/upload/storage/v1/b/data/o?uploadType=resumable&name=a"
        assert _reason(http.post(url, json={"temporaryHold": True})) == (501, "notImplemented")
        assert _reason(http.post(url, json={}, headers={"X-Goog-Encryption-Key": "k"})) == (501, "notImplemented")
        assert _reason(http.post(f"{url}&someday=1", json={})) == (501, "notImplemented")


class TestResumable:
    """https://cloud.google.com/storage/docs/performing-resumable-uploads"""

    @pytest.fixture
    def session(self, storage_url: str, bucket: storage.Bucket, http: requests.Session) -> str:
        url = f"{storage_url}/upload/storage/v1/b/data/o?uploadType=resumable"
        answer = http.post(url, json={"name": "a"}, headers={"X-Upload-Content-Type": "text/csv"})
        assert answer.status_code == 200
        return answer.headers["Location"]

    @staticmethod
    def _put(http: requests.Session, session: str, span: str, data: bytes = b"") -> tuple[int, str | None]:
        answer = http.put(session, data=data, headers={"Content-Range": f"bytes {span}"})
        return answer.status_code, answer.headers.get("Range")

    def test_chunks_then_the_object(self, session: str, http: requests.Session, bucket: storage.Bucket) -> None:
        assert self._put(http, session, "*/*") == (308, None)
        assert self._put(http, session, f"0-{CHUNK - 1}/*", b"x" * CHUNK) == (308, f"bytes=0-{CHUNK - 1}")
        assert bucket.get_blob("a") is None
        assert self._put(http, session, "*/*") == (308, f"bytes=0-{CHUNK - 1}")
        assert self._put(http, session, f"{CHUNK}-{CHUNK + 1}/{CHUNK + 2}", b"yz") == (200, None)
        assert bucket.blob("a").download_as_bytes() == b"x" * CHUNK + b"yz"
        assert bucket.get_blob("a").content_type == "text/csv"

    def test_bytes_sent_twice_count_once(self, session: str, http: requests.Session, bucket: storage.Bucket) -> None:
        self._put(http, session, "0-3/*", b"abcd")
        assert self._put(http, session, "2-5/6", b"cdef") == (200, None)
        assert bucket.blob("a").download_as_bytes() == b"abcdef"

    def test_bytes_behind_a_gap_are_not_taken(self, session: str, http: requests.Session) -> None:
        self._put(http, session, "0-3/*", b"abcd")
        assert self._put(http, session, "5-6/*", b"fg") == (308, "bytes=0-3")

    def test_a_lost_last_answer_can_be_asked_for_again(self, session: str, http: requests.Session) -> None:
        first = http.put(session, data=b"abc")
        again = http.put(session, headers={"Content-Range": "bytes */3"})
        assert again.status_code == 200
        assert again.json() == first.json()

    def test_more_than_was_declared_is_refused(self, session: str, http: requests.Session) -> None:
        assert self._put(http, session, "0-3/2", b"abcd")[0] == 400

    def test_a_cancelled_session_is_gone(self, session: str, http: requests.Session, objects: Objects) -> None:
        assert http.delete(session).status_code == 499
        assert _reason(http.put(session, data=b"abc")) == (404, "notFound")
        assert list(objects.spool.iterdir()) == []

    @pytest.mark.parametrize("upload_id", ["0" * 32, "../../etc/passwd", ""])
    def test_an_unknown_session_is_not_found(
        self, storage_url: str, bucket: storage.Bucket, http: requests.Session, upload_id: str
    ) -> None:
        url = f"{storage_url}/upload/storage/v1/b/data/o"
        assert _reason(http.put(url, params={"upload_id": upload_id}, data=b"x")) == (404, "notFound")

    def test_a_session_outlives_the_daemon(self, session: str, http: requests.Session, objects: Objects) -> None:
        # Given half an upload
        self._put(http, session, "0-3/*", b"abcd")
        # When the daemon is restarted
        again = Objects(objects.root)
        server = HttpServer(Service(routes(again), Faults()))
        server.start()
        moved = f"http://127.0.0.1:{server.port}/upload/{session.partition('/upload/')[2]}"
        # Then it goes on where it stopped
        assert self._put(http, moved, "*/*") == (308, "bytes=0-3")
        assert self._put(http, moved, "4-5/6", b"ef") == (200, None)
        with again.open("data", "a") as file:
            assert file.read() == b"abcdef"
        server.stop()
        again.close()

    def test_bytes_before_a_broken_connection_are_kept(self, session: str, http: requests.Session) -> None:
        host, port = session.split("/")[2].split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(
                f"PUT /upload/{session.partition('/upload/')[2]} HTTP/1.1\r\nHost: x\r\n"
                f"Content-Range: bytes 0-9/10\r\nContent-Length: 10\r\n\r\nabcd".encode()
            )
            client.shutdown(socket.SHUT_WR)
            client.recv(1)
        assert self._put(http, session, "*/10") == (308, "bytes=0-3")
        assert self._put(http, session, "4-9/10", b"efghij") == (200, None)

    @pytest.mark.parametrize("kind", ["503", "accepted-503", "lost-answer", "reset"])
    def test_the_client_recovers_from_a_fault_in_the_middle(
        self, bucket: storage.Bucket, faults: Faults, kind: str
    ) -> None:
        # Given a fault at the second of five chunks (the first call starts the session)
        data = os.urandom(5 * CHUNK)
        faults.add("storage.objects.insert", kind=kind, call=3)
        # When the client uploads
        blob = bucket.blob("a", chunk_size=CHUNK)
        blob.upload_from_file(io.BytesIO(data), retry=DEFAULT_RETRY)
        # Then all bytes are there, once
        assert bucket.blob("a").download_as_bytes() == data


class TestDownloads:
    """https://cloud.google.com/storage/docs/json_api/v1/objects/get"""

    @pytest.mark.parametrize(
        ("header", "status", "expected", "content_range"),
        [
            (None, 200, b"0123456789", None),
            ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
            ("bytes=7-", 206, b"789", "bytes 7-9/10"),
            ("bytes=7-99", 206, b"789", "bytes 7-9/10"),
            ("bytes=-3", 206, b"789", "bytes 7-9/10"),
            ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
            ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
            ("lines=1-2", 200, b"0123456789", None),
            ("bytes=10-", 416, None, "bytes */10"),
            ("bytes=-0", 416, None, "bytes */10"),
            ("bytes=0-1,4-5", 501, None, None),
        ],
    )
    def test_ranges(
        self,
        storage_url: str,
        bucket: storage.Bucket,
        http: requests.Session,
        header: str | None,
        status: int,
        expected: bytes | None,
        content_range: str | None,
    ) -> None:
        bucket.blob("a/b").upload_from_string("0123456789")
        headers = {} if header is None else {"Range": header}
        for path in ("/download/storage/v1/b/data/o/a%2Fb", "/storage/v1/b/data/o/a%2Fb"):
            answer = http.get(f"{storage_url}{path}?alt=media", headers=headers)
            assert (answer.status_code, answer.headers.get("Content-Range")) == (status, content_range)
            assert expected is None or answer.content == expected

    def test_headers_say_what_it_is(self, storage_url: str, bucket: storage.Bucket, http: requests.Session) -> None:
        blob = bucket.blob("a")
        blob.cache_control = "no-cache"
        blob.content_language = "de"
        blob.upload_from_string("hello", content_type="text/plain")
        headers = http.get(f"{storage_url}/download/storage/v1/b/data/o/a?alt=media").headers
        assert headers["X-Goog-Hash"] == "crc32c=mnG7TA==,md5=XUFAKrxLKna5cZ2REBfFkg=="
        assert headers["X-Goog-Generation"] == str(blob.generation)
        assert headers["X-Goog-Metageneration"] == "1"
        assert headers["X-Goog-Storage-Class"] == "STANDARD"
        assert (headers["Content-Type"], headers["Content-Length"]) == ("text/plain", "5")
        assert (headers["Cache-Control"], headers["Content-Language"]) == ("no-cache", "de")
        assert headers["ETag"] == blob.etag

    def test_head_has_no_body(self, storage_url: str, bucket: storage.Bucket, http: requests.Session) -> None:
        bucket.blob("a").upload_from_string("hello")
        answer = http.head(f"{storage_url}/download/storage/v1/b/data/o/a?alt=media")
        assert (answer.status_code, answer.content, answer.headers["Content-Length"]) == (200, b"", "5")

    @pytest.mark.parametrize("chunk_size", [CHUNK, 4 * CHUNK])
    def test_downloads_in_chunks(self, bucket: storage.Bucket, chunk_size: int) -> None:
        data = os.urandom(3 * CHUNK + 7)
        bucket.blob("a").upload_from_string(data)
        assert bucket.blob("a", chunk_size=chunk_size).download_as_bytes() == data
        bucket.blob("empty").upload_from_string(b"")
        assert bucket.blob("empty", chunk_size=chunk_size).download_as_bytes() == b""

    def test_a_file_that_spark_wrote_downloads_with_its_checksums(
        self, bucket: storage.Bucket, objects: Objects
    ) -> None:
        folder = objects.root / "data" / "out"
        folder.mkdir()
        (folder / "part-00000").write_bytes(b"hello")
        blob = bucket.blob("out/part-00000")
        assert blob.download_as_bytes(checksum="md5") == b"hello"
        blob.reload()
        assert blob.md5_hash == "XUFAKrxLKna5cZ2REBfFkg=="

    def test_a_pinned_generation(self, bucket: storage.Bucket) -> None:
        blob = bucket.blob("a")
        blob.upload_from_string("old")
        old = blob.generation
        assert bucket.blob("a", generation=old).download_as_bytes() == b"old"
        blob.upload_from_string("new")
        assert blob.generation > old
        with pytest.raises(exceptions.NotFound, match="No such object: data/a"):
            bucket.blob("a", generation=old).download_as_bytes()
        assert bucket.get_blob("a", generation=old) is None

    def test_gzip_is_unpacked_for_who_does_not_take_it(
        self, storage_url: str, bucket: storage.Bucket, http: requests.Session
    ) -> None:
        """https://cloud.google.com/storage/docs/transcoding"""
        text = b"hello " * 500_000
        blob = bucket.blob("a.gz")
        blob.content_encoding = "gzip"
        blob.upload_from_string(gzip.compress(text), content_type="text/plain")
        assert blob.download_as_bytes() == text
        assert blob.download_as_bytes(raw_download=True) == gzip.compress(text)
        url = f"{storage_url}/download/storage/v1/b/data/o/a.gz?alt=media"
        plain = http.get(url, headers={"Accept-Encoding": "identity"})
        assert plain.content == text
        assert "Content-Encoding" not in plain.headers

    def test_conditions_on_reads(self, bucket: storage.Bucket) -> None:
        blob = bucket.blob("a")
        blob.upload_from_string("x")
        assert blob.download_as_bytes(if_generation_match=blob.generation) == b"x"
        with pytest.raises(exceptions.PreconditionFailed):
            blob.download_as_bytes(if_generation_match=1)
        with pytest.raises(exceptions.NotModified):
            blob.reload(if_generation_not_match=blob.generation)
        with pytest.raises(exceptions.PreconditionFailed):
            blob.reload(if_etag_match="other")
        with pytest.raises(exceptions.NotModified):
            blob.reload(if_etag_not_match=blob.etag)
        blob.reload(if_etag_match=blob.etag)


class TestPreconditions:
    """https://cloud.google.com/storage/docs/request-preconditions"""

    @pytest.mark.parametrize("chunk_size", [None, CHUNK])
    def test_zero_means_that_there_must_be_none(self, bucket: storage.Bucket, chunk_size: int | None) -> None:
        blob = bucket.blob("a", chunk_size=chunk_size)
        blob.upload_from_string("1", if_generation_match=0)
        with pytest.raises(exceptions.PreconditionFailed, match="pre-conditions you specified did not hold"):
            bucket.blob("a", chunk_size=chunk_size).upload_from_string("2", if_generation_match=0)
        assert blob.download_as_bytes() == b"1"

    def test_the_error_is_googles(self, storage_url: str, bucket: storage.Bucket, http: requests.Session) -> None:
        url = f"{storage_url}/upload/storage/v1/b/data/o?uploadType=media&name=a&ifGenerationMatch=7"
        answer = http.post(url, data=b"")
        assert answer.json()["error"]["errors"] == [
            {
                "message": "At least one of the pre-conditions you specified did not hold.",
                "domain": "global",
                "reason": "conditionNotMet",
                "locationType": "header",
                "location": "If-Match",
            }
        ]

    def test_every_verb_obeys(self, bucket: storage.Bucket) -> None:
        blob = bucket.blob("a")
        blob.upload_from_string("1")
        other = blob.generation + 1
        blob.metadata = {"k": "v"}
        attempts: list[Any] = [
            lambda: blob.patch(if_generation_match=other),
            lambda: blob.patch(if_metageneration_match=9),
            lambda: blob.delete(if_generation_match=other),
            lambda: bucket.copy_blob(blob, bucket, "b", if_source_generation_match=other),
            lambda: bucket.copy_blob(blob, bucket, "a", if_generation_match=other),
            lambda: bucket.blob("b").rewrite(blob, if_source_metageneration_match=9),
            lambda: bucket.blob("a").compose([blob], if_generation_match=other),
            lambda: bucket.blob("b").compose([blob], if_source_generation_match=[other]),
        ]
        for attempt in attempts:
            with pytest.raises(exceptions.PreconditionFailed):
                attempt()
        assert [(each.name, each.generation) for each in bucket.list_blobs()] == [("a", other - 1)]

    def test_a_number_that_is_none_is_refused(
        self, storage_url: str, bucket: storage.Bucket, http: requests.Session
    ) -> None:
        url = f"{storage_url}/storage/v1/b/data/o/a?ifGenerationMatch=x"
        bucket.blob("a").upload_from_string("1")
        assert _reason(http.delete(url)) == (400, "invalid")


class TestListing:
    """https://cloud.google.com/storage/docs/json_api/v1/objects/list"""

    NAMES = ("a/b", "a/c", "d", "e", "e/", "e/f", "e/g/h", "é")

    @pytest.fixture
    def filled(self, bucket: storage.Bucket, objects: Objects) -> storage.Bucket:
        for name in self.NAMES:
            objects.write("data", name, [b""])
        return bucket

    @pytest.mark.parametrize(
        ("options", "names", "prefixes"),
        [
            ({}, list(NAMES), []),
            ({"prefix": "e"}, ["e", "e/", "e/f", "e/g/h"], []),
            ({"prefix": "none"}, [], []),
            ({"delimiter": "/"}, ["d", "e", "é"], ["a/", "e/"]),
            ({"delimiter": "/", "prefix": "e/"}, ["e/", "e/f"], ["e/g/"]),
            ({"delimiter": "/", "include_trailing_delimiter": True}, ["d", "e", "e/", "é"], ["a/", "e/"]),
            ({"start_offset": "a/c", "end_offset": "e/f"}, ["a/c", "d", "e", "e/"], []),
            ({"start_offset": "b", "delimiter": "/"}, ["d", "e", "é"], ["e/"]),
            ({"match_glob": "e/*"}, ["e/", "e/f"], []),
            ({"match_glob": "{a,e}/?"}, ["a/b", "a/c", "e/f"], []),
            ({"match_glob": "e**"}, ["e", "e/", "e/f", "e/g/h"], []),
            ({"match_glob": "[a-d]/[bc]"}, ["a/b", "a/c"], []),
            ({"match_glob": "e/*", "prefix": "e/f"}, ["e/f"], []),
            ({"versions": True, "prefix": "a/"}, ["a/b", "a/c"], []),
        ],
    )
    @pytest.mark.parametrize("page_size", [None, 1, 2])
    def test_what_is_listed(
        self,
        filled: storage.Bucket,
        options: dict[str, Any],
        names: list[str],
        prefixes: list[str],
        page_size: int | None,
    ) -> None:
        listed = filled.list_blobs(page_size=page_size, **options)
        assert [blob.name for blob in listed] == names
        assert sorted(listed.prefixes) == prefixes

    def test_pages_are_as_long_as_asked(self, filled: storage.Bucket) -> None:
        pages = [[blob.name for blob in page] for page in filled.list_blobs(page_size=3).pages]
        assert [len(page) for page in pages] == [3, 3, 2]
        assert len(list(filled.list_blobs(max_results=4))) == 4

    def test_a_prefix_with_very_many_objects_is_one_entry(self, bucket: storage.Bucket, objects: Objects) -> None:
        for folder in ("a", "b"):
            (objects.root / "data" / folder).mkdir()
            for number in range(450):
                (objects.root / "data" / folder / str(number)).touch()
        (objects.root / "data" / "c").touch()
        listed = bucket.list_blobs(delimiter="/", page_size=1)
        assert [blob.name for blob in listed] == ["c"]
        assert sorted(listed.prefixes) == ["a/", "b/"]

    @pytest.mark.parametrize("options", [{"soft_deleted": True}, {"match_glob": "**/x"}, {"match_glob": "[!a]"}])
    def test_what_is_not_implemented_is_refused(self, filled: storage.Bucket, options: dict[str, Any]) -> None:
        with pytest.raises(exceptions.MethodNotImplemented):
            list(filled.list_blobs(**options))

    def test_checksums_are_not_computed_for_who_does_not_ask(self, bucket: storage.Bucket, objects: Objects) -> None:
        (objects.root / "data" / "a").write_bytes(b"x")
        [blob] = bucket.list_blobs(fields="items(name,generation),nextPageToken")
        assert objects.get("data", "a").checksums is None
        [blob] = bucket.list_blobs()
        assert blob.md5_hash is not None


class TestFilesInMotion:
    """Spark writes, moves and removes files while others look; what they see is always one moment's truth."""

    @pytest.fixture
    def racing(self, objects: Objects, bucket: storage.Bucket, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """Given a file that another process touches each time just before its checksums are computed."""
        path = objects.root / "data" / "a"
        path.write_bytes(b"old")
        steps: list[Any] = []
        checksums = Objects.checksums

        def race(self: Objects, stored: Any) -> Any:
            if steps:
                steps.pop(0)(path)
            return checksums(self, stored)

        monkeypatch.setattr(Objects, "checksums", race)
        return steps

    def test_a_file_that_is_replaced_is_seen_new(self, bucket: storage.Bucket, racing: list[Any]) -> None:
        for listed in (True, False):
            racing[:] = [lambda path: path.write_bytes(b"newer" * 2), lambda path: path.write_bytes(b"newest")]
            blob = next(iter(bucket.list_blobs())) if listed else bucket.get_blob("a")
            assert blob.size == 6
        racing[:] = [lambda path: path.write_bytes(b"newer")]
        assert bucket.blob("a").download_as_bytes(checksum="md5") == b"newer"

    def test_a_file_that_is_removed_is_not_there(self, bucket: storage.Bucket, racing: list[Any]) -> None:
        racing[:] = [lambda path: path.unlink()]
        assert list(bucket.list_blobs()) == []
        assert bucket.get_blob("a") is None

    def test_a_file_that_never_rests_is_listed_without_checksums(
        self, bucket: storage.Bucket, racing: list[Any]
    ) -> None:
        racing[:] = [lambda path, size=size: path.write_bytes(b"x" * size) for size in range(10, 100)]
        [blob] = bucket.list_blobs()
        assert (blob.size, blob.crc32c) == (14, None)  # after the fifth look


class TestMetadata:
    """https://cloud.google.com/storage/docs/json_api/v1/objects/patch"""

    def test_a_patch_changes_what_it_names(self, bucket: storage.Bucket) -> None:
        blob = bucket.blob("a")
        blob.metadata = {"a": "1", "b": "2"}
        blob.upload_from_string("x", content_type="text/plain")
        generation = blob.generation
        blob.metadata = {"a": None, "c": "3"}
        blob.cache_control = "no-store"
        blob.patch()
        found = bucket.get_blob("a")
        assert (found.metadata, found.cache_control) == ({"b": "2", "c": "3"}, "no-store")
        assert (found.content_type, found.generation, found.metageneration) == ("text/plain", generation, 2)
        assert found.updated > found.time_created
        blob.metadata = None
        blob.patch()
        assert bucket.get_blob("a").metadata is None

    def test_an_update_replaces_everything(self, bucket: storage.Bucket) -> None:
        blob = bucket.blob("a")
        blob.metadata = {"a": "1"}
        blob.upload_from_string("x", content_type="text/plain")
        fresh = bucket.blob("a")
        fresh.content_type = "text/csv"
        fresh.update()
        found = bucket.get_blob("a")
        assert (found.content_type, found.metadata) == ("text/csv", None)

    def test_a_hold_is_refused(self, bucket: storage.Bucket) -> None:
        blob = bucket.blob("a")
        blob.upload_from_string("x")
        blob.temporary_hold = True
        with pytest.raises(exceptions.MethodNotImplemented, match="temporaryHold"):
            blob.patch()


class TestCopies:
    def test_copy(self, bucket: storage.Bucket, storage_client: storage.Client) -> None:
        """https://cloud.google.com/storage/docs/json_api/v1/objects/copy"""
        blob = bucket.blob("a/b")
        blob.metadata = {"k": "v"}
        blob.upload_from_string("hello", content_type="text/plain")
        other = storage_client.create_bucket("other")
        copy = bucket.copy_blob(blob, other, "c/d")
        assert (copy.content_type, copy.metadata, copy.download_as_bytes()) == ("text/plain", {"k": "v"}, b"hello")
        with pytest.raises(exceptions.NotFound, match="No such object: data/none"):
            bucket.copy_blob(bucket.blob("none"), other)

    def test_rewrite(self, bucket: storage.Bucket) -> None:
        """https://cloud.google.com/storage/docs/json_api/v1/objects/rewrite"""
        blob = bucket.blob("a")
        blob.upload_from_string("hello", content_type="text/plain")
        copy = bucket.blob("b")
        assert copy.rewrite(blob) == (None, 5, 5)
        assert (copy.content_type, copy.md5_hash) == ("text/plain", blob.md5_hash)
        blob.update_storage_class("COLDLINE")
        assert bucket.get_blob("a").storage_class == "COLDLINE"

    def test_compose(self, bucket: storage.Bucket) -> None:
        """https://cloud.google.com/storage/docs/json_api/v1/objects/compose"""
        parts = [bucket.blob(name) for name in ("x", "y")]
        for part in parts:
            part.upload_from_string(f"<{part.name}>")
        whole = bucket.blob("whole")
        whole.content_type = "text/plain"
        whole.compose([*parts, parts[0]])
        found = bucket.get_blob("whole")
        assert found.download_as_bytes() == b"<x><y><x>"
        assert (found.component_count, found.md5_hash, found.content_type) == (3, None, "text/plain")
        whole.compose([whole, parts[1]])
        assert whole.download_as_bytes() == b"<x><y><x><y>"
        assert bucket.get_blob("whole").component_count == 4

    def test_compose_takes_1_to_32_objects_that_exist(self, bucket: storage.Bucket) -> None:
        part = bucket.blob("x")
        part.upload_from_string("x")
        with pytest.raises(exceptions.BadRequest, match="from 1 to 32"):
            bucket.blob("whole").compose([part] * 33)
        with pytest.raises(exceptions.NotFound):
            bucket.blob("whole").compose([part, bucket.blob("none")])
        assert bucket.get_blob("whole") is None

    def test_rename(self, bucket: storage.Bucket) -> None:
        blob = bucket.blob("a")
        blob.upload_from_string("x")
        bucket.rename_blob(blob, "b")
        assert [each.name for each in bucket.list_blobs()] == ["b"]


class TestBatch:
    """https://cloud.google.com/storage/docs/batch"""

    def test_many_deletes_in_one_request(
        self, bucket: storage.Bucket, storage_client: storage.Client, faults: Faults
    ) -> None:
        names = [f"é/{number}" for number in range(20)]
        for name in names:
            bucket.blob(name).upload_from_string("x")
        with storage_client.batch():
            bucket.delete_blobs([bucket.blob(name) for name in names])
        assert list(bucket.list_blobs()) == []
        assert faults.calls()["storage.batch"] == 1
        assert faults.calls()["storage.objects.delete"] == 20

    def test_each_call_has_its_own_answer(self, bucket: storage.Bucket, storage_client: storage.Client) -> None:
        blob = bucket.blob("a")
        blob.upload_from_string("x")
        blob.metadata = {"k": "ü"}
        with storage_client.batch(raise_exception=False) as batch:
            blob.patch()
            bucket.blob("none").delete()
        assert [answer.status_code for answer in batch._responses] == [200, 404]
        assert blob.metadata == {"k": "ü"}
        with pytest.raises(exceptions.NotFound, match="No such object: data/none"), storage_client.batch():
            bucket.blob("none").delete()

    def test_contents_do_not_travel_in_batches(self, storage_url: str, http: requests.Session) -> None:
        body = (
            "--B\r\nContent-Type: application/http\r\n\r\nGET /storage/v1/b/x/o/y?alt=media HTTP/1.1\r\n\r\n\r\n--B--"
        )
        answer = http.post(
            f"{storage_url}/batch/storage/v1", data=body, headers={"Content-Type": "multipart/mixed; boundary=B"}
        )
        assert answer.status_code == 400


def test_errors_of_faults_are_retried_by_the_client(bucket: storage.Bucket, faults: Faults) -> None:
    bucket.blob("a").upload_from_string("x")
    faults.add("storage.objects.get", kind="503", times=2)
    assert bucket.get_blob("a").size == 1
    assert faults.calls()["storage.objects.get"] == 3


@pytest.mark.slow
def test_memory_stays_bounded_however_large_an_object_is(bucket: storage.Bucket, storage_url: str) -> None:
    # Given a body of 200 MB that is never whole in this process's memory, which is the server's too
    size, block = 200, os.urandom(1 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with requests.Session() as http:
        url = f"{storage_url}/upload/storage/v1/b/data/o?uploadType=media&name=big"
        answer = http.post(url, data=(block for _ in range(size)))
        assert json.loads(answer.text)["size"] == str(size << 20)
        # When it is downloaded again
        with http.get(f"{storage_url}/download/storage/v1/b/data/o/big?alt=media", stream=True) as download:
            received = sum(len(chunk) for chunk in download.iter_content(1 << 20))
    assert received == size << 20
    # Then the process has grown by a few blocks at most (ru_maxrss counts kilobytes)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000
