"""Buckets and objects on disk, without HTTP."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pydag_gcp.local.storage.drafts import Draft
from pydag_gcp.local.storage.objects import (
    Bucket,
    BucketExists,
    BucketNotEmpty,
    BucketNotFound,
    InvalidName,
    ObjectNotFound,
    Objects,
    Precondition,
    PreconditionFailed,
    StoredObject,
)

#: Names that no file system holds as they are, or not beside each other.
AWKWARD = ["a", "a/b", "a/b/c", "a/", "a//b", "/a", "//", "x/../../y", "x/./y", "é/ü", "%41", "~", "*", "n" * 300]
AWKWARD += [
    "d" * 250 + "/" + "e" * 250,
    "k\0n",
    "draft-1",
    ".new",
    "con",
    "\t",
    "a\\b",
    "f" * 1024,
    " ",
    "-",
    "\U0001f600",
]

NAMES = st.one_of(
    st.sampled_from(AWKWARD),
    st.lists(st.sampled_from(["a", "b", "", ".", "..", "é", "%2F", "b."]), min_size=1, max_size=5).map("/".join),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1, max_size=60),
).filter(lambda name: name not in {"", ".", ".."} and not name.startswith(".well-known/acme-challenge/"))


@pytest.fixture
def bucket(objects: Objects) -> Bucket:
    return objects.create_bucket("data", project="p")


def _bytes(objects: Objects, name: str) -> bytes:
    with objects.open("data", name) as file:
        return file.read()


def _names(objects: Objects, prefix: str = "", start: str = "") -> list[str]:
    return [stored.name for stored in objects.list("data", prefix, start=start)]


class TestBuckets:
    def test_a_bucket_is_a_folder(self, objects: Objects) -> None:
        bucket = objects.create_bucket("data", project="p", fields={"location": "EU"})
        assert (objects.root / "data").is_dir()
        assert objects.bucket("data") == bucket
        assert objects.buckets() == [bucket]

    def test_a_folder_is_a_bucket(self, objects: Objects) -> None:
        (objects.root / "made-by-hand").mkdir()
        assert [bucket.name for bucket in objects.buckets()] == ["made-by-hand"]
        assert objects.bucket("made-by-hand") == objects.bucket("made-by-hand")

    @pytest.mark.parametrize(
        "name", ["", "..", "../x", "a", "A-bucket", "a/b", "-ab", "ab-", "a..b", "ab\n", ".ab", "é"]
    )
    def test_names_outside_googles_rules_are_refused(self, objects: Objects, name: str) -> None:
        """https://cloud.google.com/storage/docs/buckets#naming"""
        with pytest.raises(InvalidName):
            objects.create_bucket(name)
        with pytest.raises(BucketNotFound):
            objects.bucket(name)

    def test_a_taken_name_is_refused(self, objects: Objects, bucket: Bucket) -> None:
        with pytest.raises(BucketExists):
            objects.create_bucket("data")

    def test_only_an_empty_bucket_is_deleted(self, objects: Objects, bucket: Bucket) -> None:
        objects.write("data", "a/b", [b"1"])
        with pytest.raises(BucketNotEmpty):
            objects.delete_bucket("data")
        objects.delete("data", "a/b")
        (objects.root / "data" / "left" / "over").mkdir(parents=True)
        objects.delete_bucket("data")
        with pytest.raises(BucketNotFound):
            objects.bucket("data")

    def test_a_bucket_made_anew_has_nothing_of_the_old_one(self, objects: Objects, bucket: Bucket) -> None:
        objects.change_bucket("data", lambda _: {"labels": {"a": "b"}})
        objects.delete_bucket("data")
        assert objects.create_bucket("data").fields == {}

    def test_a_change_counts_up(self, objects: Objects, bucket: Bucket) -> None:
        changed = objects.change_bucket("data", lambda fields: {**fields, "labels": {"a": "b"}})
        assert (changed.metageneration, changed.fields) == (2, {"labels": {"a": "b"}})
        with pytest.raises(PreconditionFailed):
            objects.change_bucket("data", lambda fields: fields, precondition=Precondition(metageneration=1))


@pytest.mark.usefixtures("bucket")
class TestObjects:
    def test_an_object_is_a_plain_file(self, objects: Objects) -> None:
        stored = objects.write(
            "data", "a/b.txt", [b"hel", b"lo"], content_type="text/plain", fields={"metadata": {"k": "v"}}
        )
        assert (objects.root / "data" / "a" / "b.txt").read_bytes() == b"hello"
        assert objects.get("data", "a/b.txt") == stored
        assert (stored.size, stored.content_type, stored.metadata) == (5, "text/plain", {"k": "v"})
        assert stored.generation == stored.path.stat().st_mtime_ns
        assert stored.uri == "gs://data/a/b.txt"

    def test_a_file_is_an_object(self, objects: Objects) -> None:
        path = objects.root / "data" / "out" / "part-0"
        path.parent.mkdir()
        path.write_bytes(b"hello")
        stored = objects.get("data", "out/part-0")
        assert (stored.size, stored.generation) == (5, path.stat().st_mtime_ns)
        sums = objects.checksums(stored)
        # md5 and crc32c of b"hello", by other means
        assert (sums.md5, sums.crc32c) == ("XUFAKrxLKna5cZ2REBfFkg==", "mnG7TA==")
        assert objects.get("data", "out/part-0").checksums == sums

    def test_a_file_written_over_an_object_is_another_generation(self, objects: Objects) -> None:
        old = objects.write("data", "a", [b"old"], content_type="text/plain")
        old.path.write_bytes(b"new")
        new = objects.get("data", "a")
        assert new.generation > old.generation
        assert new.content_type == "application/octet-stream"
        assert new.checksums is None
        assert objects.checksums(new) != old.checksums

    def test_generations_grow_even_if_the_clock_stands_still(self, objects: Objects) -> None:
        path = objects.root / "data" / "a"
        last = 0
        for size in range(1, 4):
            # Given files whose modification time never changes
            path.unlink(missing_ok=True)
            path.write_bytes(b"x" * size)
            os.utime(path, ns=(5, 5))
            generation = objects.get("data", "a").generation
            assert generation > last
            assert objects.get("data", "a").generation == generation
            last = generation

    def test_generations_grow_across_a_deletion(self, objects: Objects) -> None:
        first = objects.write("data", "a", [b"1"])
        objects.delete("data", "a")
        path = objects.root / "data" / "a"
        path.write_bytes(b"2")
        os.utime(path, ns=(5, 5))
        assert objects.get("data", "a").generation > first.generation

    def test_what_is_known_survives_a_restart(self, objects: Objects) -> None:
        stored = objects.write("data", "a", [b"1"], fields={"metadata": {"k": "v"}})
        again = Objects(objects.root)
        assert again.get("data", "a") == stored
        again.close()

    def test_a_change_of_fields_keeps_the_generation(self, objects: Objects) -> None:
        stored = objects.write("data", "a", [b"1"])
        changed = objects.change("data", "a", lambda _: {"contentType": "text/csv"})
        assert (changed.generation, changed.metageneration) == (stored.generation, 2)
        assert objects.get("data", "a") == changed

    def test_what_is_missing_is_said_in_googles_words(self, objects: Objects) -> None:
        with pytest.raises(ObjectNotFound, match=r"^No such object: data/a$"):
            objects.get("data", "a")
        with pytest.raises(BucketNotFound, match=r"^The specified bucket does not exist\.$"):
            objects.get("other", "a")
        assert isinstance(ObjectNotFound("b", "o"), LookupError)

    def test_an_old_generation_is_gone(self, objects: Objects) -> None:
        old = objects.write("data", "a", [b"1"])
        objects.write("data", "a", [b"2"])
        with pytest.raises(ObjectNotFound):
            objects.get("data", "a", generation=old.generation)

    def test_readers_keep_what_they_opened(self, objects: Objects) -> None:
        objects.write("data", "a", [b"old"])
        with objects.open("data", "a") as file:
            objects.write("data", "a", [b"new"])
            assert file.read() == b"old"

    @pytest.mark.parametrize(
        "name", ["", ".", "..", "a\nb", "a\rb", ".well-known/acme-challenge/x", "n" * 1025, "\udcff"]
    )
    def test_names_that_google_refuses_are_refused(self, objects: Objects, name: str) -> None:
        """https://cloud.google.com/storage/docs/objects#naming"""
        with pytest.raises(InvalidName):
            objects.write("data", name, [b""])


@pytest.mark.usefixtures("bucket")
class TestAtomicity:
    def test_half_an_object_is_never_seen(self, objects: Objects) -> None:
        objects.write("data", "a", [b"old"])

        def chunks() -> Iterator[bytes]:
            yield b"half"
            assert _bytes(objects, "a") == b"old"
            raise ConnectionError

        with pytest.raises(ConnectionError):
            objects.write("data", "a", chunks())
        assert _bytes(objects, "a") == b"old"
        assert list(objects.spool.iterdir()) == []

    @pytest.mark.parametrize("step", ["before the rename", "after the rename"])
    def test_a_kill_leaves_the_old_or_the_new_object_whole(
        self, objects: Objects, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        # Given an object with fields
        old = objects.write("data", "a", [b"old"], content_type="text/old")
        # When the process dies in the middle of replacing it
        put = objects._layout.put

        def die(draft: Path, bucket: str, name: str) -> Path:
            if step == "after the rename":
                put(draft, bucket, name)
            raise KeyboardInterrupt

        monkeypatch.setattr(objects._layout, "put", die)
        with pytest.raises(KeyboardInterrupt):
            objects.write("data", "a", [b"new"], content_type="text/new")
        # Then the next one finds bytes and fields that belong together
        again = Objects(objects.root)
        found = again.get("data", "a")
        if step == "before the rename":
            assert found == old
        else:
            assert (found.size, found.content_type) == (3, "text/new")
            assert found.generation > old.generation
        again.close()

    def test_drafts_that_a_killed_process_left_are_removed(self, objects: Objects) -> None:
        (objects.spool / "draft-0").write_bytes(b"x")
        Objects(objects.root).close()
        assert list(objects.spool.iterdir()) == []

    def test_of_many_writers_who_want_to_be_first_one_is(self, objects: Objects) -> None:
        # Given 8 threads that each create the same object if it is not there
        outcomes: list[bool] = []

        def create(number: int) -> None:
            try:
                objects.write("data", "a", [b"%d" % number], precondition=Precondition(generation=0))
            except PreconditionFailed:
                outcomes.append(False)
            else:
                outcomes.append(True)

        threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == [False] * 7 + [True]

    def test_readers_and_writers_agree_at_any_moment(self, objects: Objects) -> None:
        # Given a writer that replaces an object over and over, whose size tells its content type
        done = threading.Event()
        objects.write("data", "a", [b"x"], content_type="t/1")

        def write() -> None:
            for number in range(2, 80):
                objects.write("data", "a", [b"x" * number], content_type=f"t/{number}")
            done.set()

        thread = threading.Thread(target=write)
        thread.start()
        # When it is read meanwhile, then bytes and fields always belong together, and generations only grow
        last = 0
        while not done.is_set():
            opened = objects.opened("data", "a")
            with opened.file as file:
                size = len(file.read())
            assert opened.stored.content_type == f"t/{size}"
            assert opened.stored.generation >= last
            last = opened.stored.generation
        thread.join()


@pytest.mark.usefixtures("bucket")
class TestPreconditions:
    """https://cloud.google.com/storage/docs/request-preconditions"""

    @pytest.mark.parametrize(
        ("condition", "holds_for_none", "holds_for_some"),
        [
            (Precondition(), True, True),
            (Precondition(generation=0), True, False),
            (Precondition(generation=7), False, True),
            (Precondition(generation=8), False, False),
            (Precondition(not_generation=0), False, True),
            (Precondition(not_generation=7), True, False),
            (Precondition(metageneration=2), False, True),
            (Precondition(not_metageneration=2), True, False),
            (Precondition(generation=7, metageneration=3), False, False),
        ],
    )
    def test_what_holds(self, condition: Precondition, holds_for_none: bool, holds_for_some: bool) -> None:
        some = StoredObject(
            bucket="b", name="n", path=Path("n"), size=0, generation=7, metageneration=2, created_ns=0, updated_ns=0
        )
        for current, holds in ((None, holds_for_none), (some, holds_for_some)):
            assert (condition.matches(current) and condition.differs(current)) == holds

    def test_each_verb_obeys(self, objects: Objects) -> None:
        stored = objects.write("data", "a", [b"1"])
        wrong = Precondition(generation=stored.generation + 1)
        with pytest.raises(PreconditionFailed):
            objects.write("data", "a", [b"2"], precondition=wrong)
        with pytest.raises(PreconditionFailed):
            objects.delete("data", "a", precondition=wrong)
        with pytest.raises(PreconditionFailed):
            objects.change("data", "a", lambda fields: fields, precondition=wrong)
        assert objects.get("data", "a") == stored


@pytest.mark.usefixtures("bucket")
class TestNames:
    def test_every_awkward_name_is_its_own_object(self, objects: Objects) -> None:
        for name in AWKWARD:
            objects.write("data", name, [name.encode()])
        assert _names(objects) == sorted(AWKWARD, key=str.encode)
        assert all(_bytes(objects, name) == name.encode() for name in AWKWARD)
        for name in AWKWARD:
            objects.delete("data", name)
        assert _names(objects) == []
        objects.delete_bucket("data")

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
    @example(names=["a/b", "a", "a/b"])
    @example(names=["a", "a/b", "a"])
    @given(names=st.lists(NAMES, min_size=1, max_size=8))
    def test_objects_behave_like_a_dictionary(self, objects: Objects, names: list[str]) -> None:
        model: dict[str, bytes] = {}
        for number, name in enumerate(names):
            # Given each name in turn: written if it is new, deleted if it is there, then written again if it is odd
            if name in model:
                objects.delete("data", name)
                del model[name]
            if name not in model or number % 2:
                objects.write("data", name, [b"%d" % number])
                model[name] = b"%d" % number
        # Then the bucket holds exactly what the dictionary holds, in order
        assert _names(objects) == sorted(model, key=str.encode)
        assert {name: _bytes(objects, name) for name in model} == model
        for name in model:
            objects.delete("data", name)
        assert _names(objects) == []

    def test_nothing_is_ever_written_outside(self, objects: Objects, tmp_path: Path) -> None:
        for name in ("../../evil", "/etc/evil", "a/../../../evil", "..\\evil", "%2e%2e/evil"):
            objects.write("data", name, [b"x"])
        written = {path.relative_to(tmp_path).parts[:2] for path in tmp_path.rglob("*evil*") if path.is_file()}
        assert written <= {("local", "buckets"), ("local", "objects")}
        assert not (tmp_path / "evil").exists()

    def test_folders_that_deletions_leave_empty_are_removed(self, objects: Objects) -> None:
        """A Spark job that reads a prefix without objects must find nothing, not an empty folder."""
        objects.write("data", "a/b/c", [b""])
        objects.delete("data", "a/b/c")
        assert list((objects.root / "data").iterdir()) == []

    def test_files_that_cannot_be_objects_are_passed_over(self, objects: Objects) -> None:
        folder = objects.root / "data"
        (folder / os.fsdecode(b"not-utf8-\xff")).write_bytes(b"")
        os.mkfifo(folder / "pipe")
        (folder / "empty").mkdir()
        assert _names(objects) == []
        assert objects.find("data", "pipe") is None


@pytest.mark.usefixtures("bucket")
class TestListing:
    def test_order_is_that_of_bytes_not_of_folders(self, objects: Objects) -> None:
        # "-" < "." < "/" < "0": a folder's objects come where its slash sorts
        names = ["a-b", "a.b", "a/b", "a0b", "a", "B", "é", "\U0001f600", "\ufffd"]
        for name in names:
            objects.write("data", name, [b""])
        assert _names(objects) == sorted(names, key=str.encode)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
    @given(prefix=st.text("ab/", max_size=4), start=st.text("ab/-", max_size=4))
    def test_prefix_and_start_only_leave_out(self, objects: Objects, prefix: str, start: str) -> None:
        names = ["a", "a/a", "a/b/a", "a/b/b", "ab", "ab/a", "b", "b//a", "b/a", "a-", "bb/a/b"]
        if not _names(objects):
            for name in names:
                objects.write("data", name, [b""])
        expected = sorted(name for name in names if name.startswith(prefix) and name >= start)
        assert _names(objects, prefix, start) == expected

    def test_a_long_list_is_complete(self, objects: Objects) -> None:
        folder = objects.root / "data" / "many"
        folder.mkdir()
        for number in range(1300):
            (folder / f"{number:04}").touch()
        assert _names(objects) == [f"many/{number:04}" for number in range(1300)]

    @pytest.mark.parametrize(
        ("uri", "expected"),
        [
            ("gs://data/a.csv", ["a.csv"]),
            ("gs://data/*.csv", ["a.csv", "d/b.csv", "d/e/c.csv"]),
            ("gs://data/d/*", ["d/b.csv", "d/e/c.csv", "d/x.txt"]),
            ("gs://data/d/*/c*", ["d/e/c.csv"]),
            ("gs://data/none*", []),
        ],
    )
    def test_wildcards_reach_across_slashes(self, objects: Objects, uri: str, expected: list[str]) -> None:
        """https://cloud.google.com/bigquery/docs/batch-loading-data#load-wildcards"""
        for name in ("a.csv", "d/b.csv", "d/e/c.csv", "d/x.txt"):
            objects.write("data", name, [b""])
        assert [stored.name for stored in objects.match(uri)] == expected

    @pytest.mark.parametrize("uri", ["data/a", "gs://da*/a", "gs://data", "gs://data/", "s3://data/a"])
    def test_what_is_no_uri_is_refused(self, objects: Objects, uri: str) -> None:
        with pytest.raises(InvalidName, match="Invalid Cloud Storage URI"):
            objects.match(uri)

    def test_a_uri_without_wildcard_must_exist(self, objects: Objects) -> None:
        with pytest.raises(ObjectNotFound):
            objects.match("gs://data/missing")


def test_a_draft_knows_what_is_in_it_after_a_restart(tmp_path: Path) -> None:
    draft = Draft(tmp_path / "d")
    draft.extend([b"hel", b"lo"])
    again = Draft(tmp_path / "d")
    assert (again.size, again.checksums) == (5, draft.checksums)
