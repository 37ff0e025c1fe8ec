import base64
import json
import logging
import os
import pickle
import shutil
import sys
import traceback
import types
from collections import namedtuple
from urllib.parse import quote

import pytest
import requests

from spineseg.data import resources
from spineseg.data.fetch import SOURCES, fetch, kaggle, verify
from spineseg.data.fetch.credentials import Secrets, kaggle_secrets
from spineseg.data.fetch.transfer import Patience
from spineseg.errors import CaseError

TOKEN = "KGAT_planted/0123+456789=abcdef"  # characters that an address or a header would write otherwise
NAMES = ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR", "KAGGLEHUB_CACHE")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home folder with .kaggle, and no login in the environment."""
    (tmp_path / "home" / ".kaggle").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


class FakeHub(types.ModuleType):
    """Stands in for kagglehub: raises what it is told to, then writes two cases into its cache."""

    def __init__(self):
        super().__init__("kagglehub")
        self.calls, self.troubles, self.says, self.shift, self.version = [], [], "", 0, "1"

    def dataset_download(self, handle, *, force_download=False):
        self.calls.append((handle, force_download))
        if self.says:
            logging.getLogger("kagglehub.fake").warning(self.says)
            try:
                raise ValueError(self.says)
            except ValueError:
                logging.getLogger("kagglehub.fake").exception("with %s", self.says)
        if self.troubles:
            raise self.troubles.pop(0)
        base = os.path.join(os.environ["KAGGLEHUB_CACHE"], "datasets", handle, "versions", self.version)
        for kind in ("volumes", "segmentations"):
            where = os.path.join(base, "spine_segmentation_nnunet_v2", kind)
            os.makedirs(where, exist_ok=True)
            for i in range(2):
                with open(os.path.join(where, f"case_{i:04}.nii"), "w") as file:
                    file.write(f"{kind} {i + self.shift}")
        return base


@pytest.fixture
def hub(home, monkeypatch):
    fake = FakeHub()
    monkeypatch.setitem(sys.modules, "kagglehub", fake)
    return fake


@pytest.fixture
def get(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(
        resources.shutil, "disk_usage", lambda _: namedtuple("usage", "total used free")(10**15, 0, 10**14)
    )

    def run():
        patience = Patience(attempts=3, sleep=run.waits.append)
        return fetch("kaggle", tmp_path / "raw", progress=False, patience=patience)

    run.waits = []
    return run


def refused(function, *args) -> CaseError:
    with pytest.raises(CaseError) as caught:
        function(*args)
    error = caught.value
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert "\n" not in str(error) and error.found and error.expected and error.remedy
    return error


def http_error(status, text="no"):
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(text, response=response)


def save(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


def test_public_data_need_no_login_and_lie_inside_the_target(get, hub, tmp_path):
    data = get()
    assert data.name == "spine_segmentation_nnunet_v2" and data.is_relative_to(tmp_path / "raw" / "kaggle")
    assert (data / "volumes" / "case_0001.nii").read_text() == "volumes 1"
    assert hub.calls == [("pycadmk/spine-segmentation-from-ct-scans", False)]
    assert "KAGGLEHUB_CACHE" not in os.environ


def test_a_cache_that_the_user_has_chosen_is_chosen_again_afterwards(get, monkeypatch):
    monkeypatch.setenv("KAGGLEHUB_CACHE", "/elsewhere")
    get()
    assert os.environ["KAGGLEHUB_CACHE"] == "/elsewhere"


def test_what_is_there_is_not_asked_for_again_and_changes_are_found(get, hub):
    data = get()
    assert get() == data and len(hub.calls) == 1
    assert verify(data, progress=False) == []
    (data / "volumes" / "case_0001.nii").write_text("volumes 7")
    assert [f.code for f in verify(data, progress=False)] == ["file-changed"]


def test_a_deleted_file_makes_the_library_download_by_force(get, hub):
    data = get()
    (data / "volumes" / "case_0001.nii").unlink()
    assert get() == data and hub.calls[1][1] is True
    assert get() == data and len(hub.calls) == 2 and verify(data, progress=False) == []


def test_other_bytes_than_those_of_the_first_fetch_are_put_out_of_reach(get, hub, tmp_path):
    data = get()
    (data / "volumes" / "case_0001.nii").unlink()
    hub.shift = 5  # the publisher has other files now
    error = refused(get)
    assert error.code == "lock" and "4 files that are changed, new or gone: " in error.found
    assert "segmentations/case_0000.nii" in error.found
    assert not (tmp_path / "raw" / "kaggle").exists() and (tmp_path / "raw" / "kaggle.refused").is_dir()
    assert refused(get).code == "lock"  # deleting the data is no pardon, saying it again neither
    (tmp_path / "raw" / "kaggle.lock.json").unlink()
    (tmp_path / "raw" / "kaggle.refused").rename(tmp_path / "raw" / "kaggle")
    assert get() == data and verify(data, progress=False) == []


def test_equal_files_under_another_version_are_equal(get, hub, tmp_path):
    first = get()
    shutil.rmtree(tmp_path / "raw" / "kaggle")
    hub.version = "2"
    second = get()
    assert first != second and verify(second, progress=False) == []


def test_a_download_from_before_there_were_locks_gets_one(get, tmp_path):
    get()
    lock = tmp_path / "raw" / "kaggle.lock.json"
    before = json.loads(lock.read_text())
    assert sorted(before) == [f"{kind}/case_000{i}.nii" for kind in ("segmentations", "volumes") for i in range(2)]
    lock.unlink()
    get()
    assert json.loads(lock.read_text()) == before
    for damaged in ("", "[]", "no"):
        lock.write_text(damaged)
        assert refused(get).code == "lock-damaged"


def test_broken_connections_are_tried_again(get, hub):
    hub.troubles = [requests.ConnectionError("reset"), http_error(503)]
    assert get().is_dir() and get.waits == [2, 4]


def test_a_service_that_stays_away_is_given_up(get, hub):
    hub.troubles = [TimeoutError("slow")] * 9
    error = refused(get)
    assert error.code == "no-connection" and len(hub.calls) == 3


class UnauthenticatedError(Exception):
    """As kagglehub names its own."""


@pytest.mark.parametrize("trouble", [http_error(401), http_error(403), UnauthenticatedError()])
def test_a_refusal_says_how_to_log_in(get, hub, trouble):
    hub.troubles = [trouble]
    error = refused(get)
    assert error.code == "kaggle-refused" and "KAGGLE_KEY" in error.remedy and "chmod 600" in error.remedy
    assert len(hub.calls) == 1


def test_a_full_disk_is_named(get, hub, monkeypatch):
    hub.troubles = [OSError(28, "No space left on device")]
    assert refused(get).code == "disk-full"
    usage = namedtuple("usage", "total used free")(0, 0, SOURCES["kaggle"].least_bytes)
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda _: usage)
    assert refused(get).code == "disk-full" and len(hub.calls) == 1


def test_a_missing_library_is_named(get, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    error = refused(get)
    assert "kagglehub is not installed" in error.found and "pip install" in error.remedy


def test_the_library_is_imported_only_when_it_is_needed():
    assert "kagglehub" not in vars(kaggle)


# --- the login stays hidden


def planted(monkeypatch, home, where):
    """Put the token where a user may; what must not be seen of it."""
    basic = base64.b64encode(f"me:{TOKEN}".encode()).decode()
    if where == "token":
        monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    elif where == "key":
        monkeypatch.setenv("KAGGLE_USERNAME", "me")
        monkeypatch.setenv("KAGGLE_KEY", TOKEN)
    elif where == "token file":
        save(home / ".kaggle" / "access_token", f"{TOKEN}\n")
    elif where == "token path":
        monkeypatch.setenv("KAGGLE_API_TOKEN", str(save(home / "mine", TOKEN)))
    else:
        save(home / ".kaggle" / "kaggle.json", json.dumps({"username": "me", "key": TOKEN}))
    with_user = where in ("key", "json")
    return [TOKEN, quote(TOKEN, safe=""), *([basic] if with_user else [])]


WHERE = pytest.mark.parametrize("where", ["token", "key", "token file", "token path", "json"])


@WHERE
def test_a_token_in_the_librarys_exception_is_in_no_text(get, hub, home, monkeypatch, where):
    forms = planted(monkeypatch, home, where)
    everything = " ".join(f"https://x/?t={form}&z" for form in forms)
    cause = ValueError(everything)
    trouble = RuntimeError(f"bad {everything}\nAuthorization: {forms[-1]}")
    trouble.__cause__ = cause
    hub.troubles = [trouble]
    with pytest.raises(CaseError) as caught:
        get()
    error = caught.value
    assert error.__context__ is None and error.__cause__ is None
    texts = [str(error), repr(error), repr(vars(error)), repr(pickle.dumps(error))]
    frames = traceback.TracebackException.from_exception(error, capture_locals=True).stack
    texts += [repr(frame.locals) for frame in frames if "test_kaggle" not in frame.filename]
    assert len(texts) > 5
    assert "bad https://x/?t=<hidden>&z" in error.found and "\n" not in str(error)
    for form in forms:
        assert not [text for text in texts if form in text]


@WHERE
def test_a_token_in_the_librarys_log_is_scrubbed(get, hub, home, monkeypatch, where, caplog):
    forms = planted(monkeypatch, home, where)
    hub.says = f"sending {' '.join(forms)}"
    before = logging.getLogRecordFactory()
    get()
    assert caplog.text.count("sending <hidden>") >= 3 and "Traceback" in caplog.text
    assert not [record for record in caplog.records if record.exc_info or record.args]
    assert not [form for form in forms if form in caplog.text]
    assert logging.getLogRecordFactory() is before


def test_a_log_record_with_wrong_arguments_is_scrubbed_too(caplog):
    with Secrets(TOKEN).kept_out_of_logs():
        logging.getLogger("x").warning("no %d", TOKEN)
        logging.getLogger("x").warning("plain")
    assert "plain" in caplog.text and TOKEN not in caplog.text


def test_a_token_longer_than_a_file_name_is_hidden(get, hub, home, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", "t" * 5000)
    hub.troubles = [OSError(36, "File name too long", "t" * 5000)]
    assert "ttt" not in str(refused(get))


def test_secrets_show_nothing_of_themselves():
    secrets = Secrets(TOKEN)
    assert TOKEN not in f"{secrets} {secrets!r} {[secrets]}" and secrets
    with pytest.raises(TypeError):
        pickle.dumps(secrets)
    with pytest.raises(TypeError):
        vars(secrets)


def test_a_token_is_not_an_argument(tmp_path):
    with pytest.raises(TypeError):
        fetch("kaggle", tmp_path, token=TOKEN)


# --- files of logins


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o620])
@pytest.mark.parametrize("name", ["kaggle.json", "access_token"])
def test_a_file_that_others_can_read_is_refused(get, hub, home, name, mode):
    path = save(home / ".kaggle" / name, json.dumps({"username": "me", "key": TOKEN}), mode)
    error = refused(get)
    assert error.code == "credentials-mode" and error.path == str(path)
    assert f"{mode:04o}" in error.found and error.remedy == f"chmod 600 {path}"
    assert hub.calls == [] and TOKEN not in str(error)
    path.chmod(0o600)
    assert get().is_dir()


def test_a_file_that_is_not_used_is_not_looked_at(home, monkeypatch):
    save(home / ".kaggle" / "kaggle.json", "{}", 0o644)
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    assert kaggle_secrets().scrub(TOKEN) == "<hidden>"


@pytest.mark.parametrize("text", [f"not json {TOKEN}", f'{{"key": "{TOKEN}"}}', f'["{TOKEN}"]'])
def test_a_damaged_file_is_refused_without_showing_it(home, text):
    path = save(home / ".kaggle" / "kaggle.json", text)
    with pytest.raises(CaseError) as caught:
        kaggle_secrets()
    error = caught.value
    assert error.code == "credentials" and error.path == str(path)
    frames = traceback.TracebackException.from_exception(error, capture_locals=True).stack[1:]
    assert TOKEN not in str(error) + repr([frame.locals for frame in frames])
    assert error.__context__ is None


def test_no_login_at_all_is_no_error(home):
    assert not kaggle_secrets() and kaggle_secrets().scrub("text") == "text"
