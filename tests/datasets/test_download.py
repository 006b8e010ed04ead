"""--download against a server of this machine: stops, breaks, lies, and archives that attack."""

import hashlib
import io
import shutil
import stat
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import tfskin
from tests.datasets.tiny import make_image
from tests.news import hear
from tfskin.datasets import archives, transfers
from tfskin.datasets.archives import download_source
from tfskin.datasets.transfers import RemoteFile
from tfskin.errors import UserError


@dataclass
class Web:
    """What the server has, how it behaves, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    head_allowed: bool = True
    sized: bool = True
    """Whether it says how long a file is."""
    break_after: int | None = None
    """Close the connection after so many bytes, once for each of ``breaks``."""
    breaks: int = 0
    short_by: int = 0
    """HEAD promises so many bytes more than there are."""
    server: str = "AmazonS3"
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def publish(self, name: str, data: bytes, digest: str = "") -> RemoteFile:
        self.files[name] = data
        return RemoteFile(name, (f"{self.address}/{name}",), digest)


def make_handler(web: Web) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

        def version_string(self):
            return web.server

        def do_HEAD(self):
            web.asked.append(f"HEAD {self.path}")
            if not web.head_allowed:
                self.send_error(403)
            elif self.start(200, len(self.data()) + web.short_by):
                self.end_headers()

        def do_GET(self):
            begin = 0
            asked = self.headers.get("Range")
            web.asked.append(f"GET {self.path} {asked or ''}".strip())
            if asked and web.ranges:
                begin = int(asked.removeprefix("bytes=").removesuffix("-"))
            data = self.data()[begin:]
            if not self.start(206 if asked and web.ranges else 200, len(data)):
                return
            if asked and web.ranges:
                whole = begin + len(data)
                self.send_header("Content-Range", f"bytes {begin}-{whole - 1}/{whole}")
            self.end_headers()
            if web.breaks and web.break_after is not None:
                web.breaks -= 1
                data = data[: web.break_after]
            self.wfile.write(data)

        def data(self) -> bytes:
            return web.files.get(self.path[1:], b"")

        def start(self, status: int, size: int) -> bool:
            if self.path[1:] not in web.files:
                self.send_error(404)
                return False
            self.send_response(status)
            if web.sized:
                self.send_header("Content-Length", str(size))
            self.send_header("ETag", f'"{hashlib.md5(self.data()).hexdigest()}"')
            return True

    return Handler


@pytest.fixture
def web(monkeypatch) -> Iterator[Web]:
    monkeypatch.setattr(transfers, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    web = Web()
    server = ThreadingHTTPServer(("127.0.0.1", 0), make_handler(web))
    web.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield web
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def publish(web, monkeypatch) -> Callable[..., None]:
    """Make these the files of the source isic_2016."""
    return lambda *files: monkeypatch.setitem(archives.ARCHIVES, "isic_2016", files)


def make_zip(members: dict[str, bytes], **how) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **how) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def download(folder: Path) -> list[str]:
    said: list[str] = []
    with hear(said.append):
        download_source("isic_2016", folder)
    return said


BLOB = bytes(range(256)) * 4000
"""A megabyte."""


def write_challenge(web: Web) -> tuple[RemoteFile, ...]:
    """ISIC 2016 as published: a table without header, and an archive with one folder."""
    images, rows = {}, []
    for number in range(12):
        stream = io.BytesIO()
        make_image(number, size=(64, 48)).save(stream, "JPEG")
        images[f"ISBI2016_ISIC_Part3_Training_Data/ISIC_{number:07d}.jpg"] = stream.getvalue()
        rows.append(f"ISIC_{number:07d},{('benign', 'malignant')[number % 2]}")
    table = "\n".join(rows).encode()
    digest = f"sha256:{hashlib.sha256(table).hexdigest()}"
    return (
        web.publish("ISBI2016_ISIC_Part3_Training_GroundTruth.csv", table, digest),
        web.publish("ISBI2016_ISIC_Part3_Training_Data.zip", make_zip(images)),
    )


def test_audit_downloads(tmp_path, web, publish, news):
    publish(*write_challenge(web))
    options = tfskin.PrepareOptions(
        download=True, on_error="skip", photographs=False, artefacts=False
    )
    found = tfskin.audit("isic_2016", tmp_path / "isic", output=tmp_path, options=options)
    assert found["images"] == 12
    assert "KiB to download into" in news[0]


def test_prepare_downloads_and_a_second_run_asks_for_nothing(tmp_path, web, publish, news):
    publish(*write_challenge(web))
    folder = tmp_path / "isic"
    options = tfskin.PrepareOptions(
        download=True, near_duplicates=False, photographs=False, artefacts=False
    )
    shards = tfskin.prepare("isic_2016", folder, output=tmp_path / "shards", options=options)
    assert sum(sum(part.values()) for part in shards.counts.values()) == 12
    assert "KiB to download into" in news[0]
    assert "2 files" in news[0]
    assert news[1].endswith("checked: SHA-256")
    assert news[2].endswith("checked: MD5 and CRC-32 of 12 files")
    names = sorted(path.name for path in folder.iterdir())
    assert names == [
        "ISBI2016_ISIC_Part3_Training_Data",
        "ISBI2016_ISIC_Part3_Training_GroundTruth.csv",
    ]
    assert len(list((folder / names[0]).glob("*.jpg"))) == 12

    web.asked.clear()
    assert "is there already" in download(folder)[0]
    assert web.asked == []


def test_a_connection_that_breaks_is_taken_up_where_it_was(tmp_path, web, publish):
    publish(web.publish("a.bin", BLOB))
    web.break_after, web.breaks = 300_000, 2
    download(tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == BLOB
    starts = [line.rpartition("=")[2] for line in web.asked if "bytes=" in line]
    assert len(starts) == 2
    assert all(0 < int(start.rstrip("-")) < len(BLOB) for start in starts)


def stop_within(folder, web, monkeypatch):
    """Ctrl-C after the first 300,000 bytes."""
    web.break_after, web.breaks = 300_000, 100
    with monkeypatch.context() as stopped:
        stopped.setattr("time.sleep", stop)
        with pytest.raises(KeyboardInterrupt):
            download(folder)


def test_the_same_command_goes_on_after_a_stop(tmp_path, web, publish, monkeypatch):
    publish(web.publish("a.bin", BLOB))
    stop_within(tmp_path, web, monkeypatch)
    (part,) = tmp_path.iterdir()
    have = part.stat().st_size
    assert 0 < have < len(BLOB)
    assert part.suffix == ".part"

    web.breaks = 0
    web.asked.clear()
    said = download(tmp_path)
    assert f"GET /a.bin bytes={have}-" in web.asked
    assert (tmp_path / "a.bin").read_bytes() == BLOB
    assert not part.exists()
    assert said[-1].endswith("checked: MD5")


def stop(seconds: float) -> None:
    raise KeyboardInterrupt


def test_a_server_without_ranges_starts_afresh(tmp_path, web, publish):
    publish(web.publish("a.bin", BLOB))
    web.ranges, web.break_after, web.breaks = False, 300_000, 1
    download(tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == BLOB


def test_a_file_that_changed_since_is_not_patched_together(tmp_path, web, publish, monkeypatch):
    publish(web.publish("a.bin", BLOB))
    stop_within(tmp_path, web, monkeypatch)
    web.breaks = 0
    web.files["a.bin"] = BLOB[::-1]
    download(tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == BLOB[::-1]
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_head_may_be_refused(tmp_path, web, publish):
    publish(web.publish("a.bin", BLOB))
    web.head_allowed = False
    download(tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == BLOB


def test_a_server_that_says_no_size(tmp_path, web, publish):
    publish(web.publish("a.bin", BLOB))
    web.sized = False
    assert "what has no known size" in download(tmp_path)[0]
    assert (tmp_path / "a.bin").read_bytes() == BLOB


def test_the_second_address_is_taken_where_the_first_has_nothing(tmp_path, web, publish):
    good = web.publish("a.bin", BLOB)
    publish(RemoteFile("a.bin", (f"{web.address}/moved/a.bin", *good.addresses)))
    download(tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == BLOB


@pytest.mark.parametrize("digest", ["sha256:" + "0" * 64, "md5:" + "0" * 32])
def test_a_wrong_checksum_leaves_nothing(tmp_path, web, publish, digest):
    publish(web.publish("a.bin", BLOB, digest))
    with pytest.raises(UserError, match=r"/a\.bin: what came has the .* instead of 0000"):
        download(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_sends_less_than_it_promised(tmp_path, web, publish):
    publish(web.publish("a.bin", BLOB))
    web.short_by = 10
    with pytest.raises(UserError, match=f"stops after {len(BLOB)} of {len(BLOB) + 10} bytes"):
        download(tmp_path)
    assert not (tmp_path / "a.bin").exists()


def test_only_the_size_is_checked_where_there_is_no_checksum(tmp_path, web, publish):
    publish(web.publish("a.bin", BLOB))
    web.server = "nginx"  # whose ETag is no checksum
    assert download(tmp_path)[-1].endswith("checked: size")


def test_no_network_is_one_line_that_names_the_address(tmp_path, web, publish, monkeypatch):
    publish(RemoteFile("a.bin", ("http://127.0.0.1:9/a.bin",)))
    with pytest.raises(UserError) as caught:
        download(tmp_path / "isic")
    message = str(caught.value)
    assert message.startswith("http://127.0.0.1:9/a.bin: no connection; ")
    assert "https://challenge.isic-archive.com/data/" in message
    assert "leave --download out" in message
    assert "\n" not in message


def test_a_full_disk_is_seen_before_anything_is_downloaded(tmp_path, web, publish, monkeypatch):
    publish(web.publish("a.zip", make_zip({"1.jpg": BLOB})))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_500_000))
    with pytest.raises(UserError, match=r"2\.0 MiB are needed .* 1\.4 MiB are free"):
        download(tmp_path)
    assert not any(line.startswith("GET") for line in web.asked)


def test_an_archive_that_was_put_there_by_hand_is_unpacked(tmp_path, web, publish):
    data = make_zip({"a/1.jpg": b"one", "a/a/2.jpg": b"two", "__MACOSX/a/._1.jpg": b"fork"})
    publish(web.publish("a.zip", data))
    (tmp_path / "a.zip").write_bytes(data)
    download(tmp_path)
    assert (tmp_path / "a" / "1.jpg").read_bytes() == b"one"
    assert (tmp_path / "a" / "a" / "2.jpg").read_bytes() == b"two"
    assert not any(line.startswith("GET") for line in web.asked)
    assert len(list(tmp_path.rglob("*.jpg"))) == 2


@pytest.mark.parametrize("name", ["../out.jpg", "/out.jpg", "a/../../out.jpg", "C:\\out.jpg"])
def test_an_archive_that_climbs_out_is_refused(tmp_path, web, publish, name):
    publish(web.publish("a.zip", make_zip({"1.jpg": b"one", name: b"out"})))
    with pytest.raises(UserError, match="leads out of its folder"):
        download(tmp_path / "isic")
    assert not (tmp_path / "out.jpg").exists()
    assert not (tmp_path / "isic" / "a").exists()


def test_a_link_in_an_archive_is_refused(tmp_path, web, publish):
    link = zipfile.ZipInfo("1.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    publish(web.publish("a.zip", stream.getvalue()))
    with pytest.raises(UserError, match=r"'1\.jpg' is a link"):
        download(tmp_path)


def test_a_damaged_archive_is_deleted_and_nothing_is_half_unpacked(tmp_path, web, publish):
    data = bytearray(make_zip({"1.jpg": b"one" * 100, "2.jpg": b"two" * 100}))
    data[60] ^= 0xFF  # in the content of 1.jpg
    publish(web.publish("a.zip", bytes(data)))
    with pytest.raises(UserError, match=r"a\.zip: is damaged .* run the command again"):
        download(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_source_without_archives_says_which_have_some(tmp_path):
    with pytest.raises(UserError, match=r"no public archives for 'table'.*isic_2018"):
        download_source("table", tmp_path)


def test_the_dataverse_says_its_checksums(tmp_path, web, monkeypatch):
    data = make_zip({"ISIC_0000000.jpg": b"one"})
    file = web.publish("HAM10000_images_part_1.zip", data)
    about = (
        '{"data": {"latestVersion": {"files": [{"dataFile": {"filename": "%s", "md5": "%s"}}]}}}'
    )
    web.publish("api", (about % (file.name, "0" * 32)).encode())
    monkeypatch.setitem(archives.ARCHIVES, "ham10000", (file,))
    monkeypatch.setattr(archives, "_HAM10000", f"{web.address}/api")
    with pytest.raises(UserError, match=f"the MD5 {hashlib.md5(data).hexdigest()} instead of 0000"):
        download_source("ham10000", tmp_path)


def test_every_published_file_has_https_addresses_of_its_name():
    for source, files in archives.ARCHIVES.items():
        for file in files:
            assert all(address.startswith("https://") for address in file.addresses), source
            if source != "ham10000":  # whose addresses end in a number
                assert {address.rpartition("/")[2] for address in file.addresses} == {file.name}
