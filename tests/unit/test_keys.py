"""Key files: made once, read only where nobody else can, and never guessed at."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import zmq
from zmq.auth import load_certificate

from perception.cli.main import main
from perception.errors import ConfigError, OutputError
from perception.wire.curve import ClientKeys, ServerKeys
from perception.wire.endpoint import check_bindable
from perception.wire.keys import generate, load_allowed, load_pair, load_public


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Path]:
    return generate("car", tmp_path)


def test_made_keys_can_be_read_by_roadcast_and_by_zmq(made: tuple[Path, Path]) -> None:
    public, secret = made
    pair = load_pair(secret)
    assert load_certificate(secret) == (pair.public, pair.secret)
    assert load_certificate(public) == (pair.public, None)
    assert load_public(public) == load_public(secret) == pair.public == zmq.curve_public(pair.secret)
    assert pair.secret.decode() not in repr(pair) + public.read_text()


def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        public, secret = generate("car", tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(public.stat().st_mode) == 0o644
    assert sorted(tmp_path.iterdir()) == [public, secret]


@pytest.mark.parametrize("kept", [0, 1])
def test_nothing_is_overwritten(made: tuple[Path, Path], kept: int) -> None:
    made[1 - kept].unlink()
    before = made[kept].read_bytes()
    with pytest.raises(ConfigError, match="never overwritten"):
        generate("car", made[0].parent)
    assert made[kept].read_bytes() == before
    assert not made[1 - kept].exists()


@pytest.mark.parametrize("name", ["", "../car", ".car", "a b", "a" * 65])
def test_names_that_are_no_file_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name keys"):
        generate(name, tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        generate("car", tmp_path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_secret_that_others_can_read_is_refused_with_the_remedy(made: tuple[Path, Path], mode: int) -> None:
    made[1].chmod(mode)
    with pytest.raises(ConfigError, match=f"mode {mode:04o}.*chmod 600 {made[1]}"):
        load_pair(made[1])


def test_files_that_are_no_keys_are_refused(made: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.touch(mode=0o600)
    with pytest.raises(ConfigError, match="There is no secret key"):
        load_pair(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="holds no CURVE key"):
        load_pair(other)
    made[0].chmod(0o600)
    with pytest.raises(ConfigError, match="public key only"):
        load_pair(made[0])
    other.write_text('curve\n    public-key = "short"\n')
    with pytest.raises(ConfigError, match="40 characters"):
        load_public(other)
    stolen = made[1].read_text().replace(load_public(made[1]).decode(), zmq.curve_keypair()[0].decode())
    other.write_text(stolen)
    with pytest.raises(ConfigError, match="do not belong together"):
        load_pair(other)


def test_an_allow_list_is_a_folder_a_key_or_a_list(made: tuple[Path, Path], tmp_path: Path) -> None:
    second = generate("dash", tmp_path)[0]
    keys = {load_public(made[0]), load_public(second)}
    assert load_allowed(tmp_path) == keys
    assert load_allowed(second) == {load_public(second)}
    listed = tmp_path / "clients"
    hashed = b"#" * 40  # is a key as well as any
    listed.write_bytes(b"# cars\n\n" + b"\n".join(key + b" somebody # 2026" for key in sorted(keys)) + b"\n" + hashed)
    assert load_allowed(listed) == keys | {hashed}
    listed.write_bytes(b"# none\n")
    assert load_allowed(listed) == frozenset()
    listed.write_bytes(b"\nhello\n")
    with pytest.raises(ConfigError, match="clients, line 2"):
        load_allowed(listed)
    (tmp_path / "broken.key").write_text("nothing")
    with pytest.raises(ConfigError, match=r"broken\.key"):
        load_allowed(tmp_path)


def test_half_of_what_is_needed_is_refused(made: tuple[Path, Path]) -> None:
    public, secret = map(str, made)
    assert ServerKeys.load(None, None) is None
    assert ClientKeys.load(None, None) is None
    for given in [(secret, None), (None, public)]:
        with pytest.raises(ConfigError, match="go together"):
            ServerKeys.load(*given)
        with pytest.raises(ConfigError, match="go together"):
            ClientKeys.load(*reversed(given))


def test_beyond_this_machine_only_with_keys_or_insecure() -> None:
    with pytest.raises(ConfigError, match="Give keys"):
        check_bindable("tcp://0.0.0.0:5600", insecure=False)
    check_bindable("tcp://0.0.0.0:5600", insecure=False, guarded=True)
    check_bindable("tcp://0.0.0.0:5600", insecure=True)
    with pytest.raises(ConfigError, match="leave one of them out"):
        check_bindable("tcp://127.0.0.1:5600", insecure=True, guarded=True)


def test_the_command_makes_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "gen", "car", "-o", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert load_public(tmp_path / "car.key").decode() in shown
    assert load_pair(tmp_path / "car.key_secret").secret.decode() not in shown
    assert main(["keys", "gen", "car", "-o", str(tmp_path)]) == 2
    assert "never overwritten" in capsys.readouterr().err
    assert main(["keys", "gen", "car", "-o", str(tmp_path / "nowhere")]) == 2
