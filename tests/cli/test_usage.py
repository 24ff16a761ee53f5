"""Wrong use of the command line: the command itself says what it does not know and what may have been meant, at once."""

from pathlib import Path

import pytest

from firstspike.cli import main
from firstspike.names import PLANS

USES = {
    "evalute NET": "firstspike: error: argument COMMAND: invalid choice: 'evalute' (choose from ",
    "rtl rn": "firstspike rtl: error: argument PART: invalid choice: 'rn' (choose from ",
    "evaluate NET --engine nativ": "firstspike evaluate: error: argument --engine: invalid choice: 'nativ' (choose from ",
    "evaluate NET --date digits": "firstspike evaluate: error: unrecognized arguments: --date digits",
    "train --recipe digits --epochs ten": "firstspike train: error: unrecognized arguments: --epochs",
}
MEANT = {"evalute": "evaluate", "rn": "run", "nativ": "native", "--date": "--data"}


@pytest.mark.parametrize("use", USES)
def test_what_is_not_known_is_named_by_its_command(use: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as status:
        main(use.split())
    assert status.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(USES[use])
    meant = [f"; did you mean {known!r}?" for given, known in MEANT.items() if given in use.split()]
    assert last.endswith("".join(meant))
    assert last.count("did you mean") == len(meant)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["demo", "--out", "file"], "'file': it must be a folder, not a file"),
        (["rtl", "emit", "NET", "--random", "1", "--out", "file/inside"], "'file': it must be a folder, not a file"),
        (["convert", "CHECKPOINT", "--recipe", "digits", "--save", "none/net"], "'none/net': its folder must exist"),
        (["inspect", "NET", "--json", "."], "'.': it must be a file, not a folder"),
    ],
)
def test_places_that_cannot_be_written_are_refused_before_any_work(
    arguments: list[str], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("kept")
    assert main(arguments) == 2
    assert capsys.readouterr().err.endswith(f"error: {text}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_network_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "vgg99", "--recipe", "digits"]) == 2
    assert f"network.plan must be one of {', '.join(PLANS)}, not 'vgg99'" in capsys.readouterr().err
