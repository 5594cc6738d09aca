"""The data that the flags name: several sets, text, manners, and what is left out."""

import gzip
import io
import json
import re
import shutil

import pytest

import main
from captioning.data import perceptual_hash
from captioning.data.perceptual_hash import grey_thumbnail
from captioning.data.splits import hashed_split
from captioning.errors import CaptioningError
from captioning.training.reading import offering_to_skip, read_data, require_readable
from captioning.training.records import say
from tests.data.pictures import draw, save

COUNTS = {"train": 4, "dev": 2, "test": 1}


def names_by_split(prefix):
    """Names of as many photographs of each split as there are in ``COUNTS``."""
    missing, names = dict(COUNTS), []
    for name in (f"{prefix}{i}.png" for i in range(1000)):
        if missing[hashed_split(name)]:
            missing[hashed_split(name)] -= 1
            names.append(name)
    return names


def write_set(folder, prefix, first_seed):
    """Photographs with two captions each; returns their names."""
    names = names_by_split(prefix)
    for seed, name in enumerate(names, first_seed):
        save(folder / "Images", name, draw(seed))
    rows = [f"{name},A {prefix} dog number {k} runs .\n" for name in names for k in range(2)]
    (folder / "captions.txt").write_text("image,caption\n" + "".join(rows))
    return names


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two sets, "home" and "web", and a text."""
    monkeypatch.chdir(tmp_path)
    write_set(tmp_path / "home", "", 0)
    write_set(tmp_path / "web", "web", 100)
    (tmp_path / "text.txt").write_text("A cup of tea .\n\nA  dog number 1 runs .\n")
    (tmp_path / "more.txt.gz").write_bytes(gzip.compress(b"Two men .\n"))
    return tmp_path


def pair(name):
    return ["--captions", f"{name}/captions.txt", "--images", f"{name}/Images"]


def read(*arguments):
    return read_data(main.parse_arguments(list(arguments)))


def sizes(splits):
    return {part: len(getattr(splits, part)) for part in COUNTS}


def test_each_set_is_split_by_itself_and_printed(folder, capsys):
    data = read(*pair("home"), *pair("web"))
    assert [each.name for each in data.sets] == ["home", "web"]
    assert [sizes(each.splits) for each in data.sets] == [COUNTS, COUNTS]
    assert len(data.train) == 8
    assert {photo.path.parent.parent.name for photo in data.dev} == {"home"}
    printed = capsys.readouterr().out.splitlines()
    assert printed == [f"{name}: {data.first.splits.describe()}" for name in ("home", "web")]


def test_a_single_set_is_printed_as_before_and_not_hashed(folder, capsys):
    data = read(*pair("home"))
    assert capsys.readouterr().out == data.first.splits.describe() + "\n"
    assert not (folder / "cache").exists()


def test_a_limit_applies_to_each_part_of_each_set(folder):
    data = read(*pair("home"), *pair("web"), "--limit", "1")
    assert [sizes(each.splits) for each in data.sets] == [dict.fromkeys(COUNTS, 1)] * 2


def test_texts_are_joined_without_the_captions_of_held_out_photographs(folder, capsys):
    data = read(*pair("home"), "--text", "text.txt", "--text", "more.txt.gz", "text.txt")
    assert data.text == (
        ["a", "cup", "of", "tea"],
        ["two", "men"],
        ["a", "cup", "of", "tea"],
    )
    printed = capsys.readouterr().out
    assert "left out 2 captions of the training data that held-out photographs have too" in printed
    assert printed.endswith("text: 3 captions\n")


def test_manners_go_by_name_and_the_first_rule_that_applies_counts(folder):
    rules = ["--manner", "web1*=news", "--manner", "web*=web"]
    data = read(*pair("home"), *pair("web"), *rules)
    for data_set in data.sets:
        for photo in (*data_set.splits.train, *data_set.splits.held_out):
            name = photo.name
            expected = "news" if name.startswith("web1") else "web" if name[0] == "w" else ""
            assert photo.manner == expected
    assert data.manners == ("news", "web")


def test_copies_of_held_out_photographs_are_left_out_before_the_limit(folder, capsys):
    home, web = names_by_split(""), names_by_split("web")
    held_out = next(name for name in home if hashed_split(name) == "test")
    copied = next(name for name in web if hashed_split(name) == "train")
    picture = draw(home.index(held_out)).resize((64, 64))
    save(folder / "web" / "Images", copied, picture)
    data = read(*pair("home"), *pair("web"), "--limit", "3")
    assert copied not in {photo.name for photo in data.train}
    assert len(data.train) == 6
    message = f"such as {copied} of web, which is {held_out} of home"
    assert message in capsys.readouterr().out


def test_named_photographs_are_left_out_of_every_part_of_every_set(folder, capsys):
    left = [names_by_split("")[0], names_by_split("web")[-1]]
    (folder / "left.txt").write_text("\n".join([*left, "unknown.png"]))
    data = read(*pair("home"), *pair("web"), "--leave-out", "left.txt")
    splits = [each.splits for each in data.sets]
    used = {photo.name for each in splits for photo in (*each.train, *each.held_out)}
    assert used == {*names_by_split(""), *names_by_split("web")} - set(left)
    assert "left.txt: left out 2 photographs that it names" in capsys.readouterr().out


def test_the_same_names_in_two_sets_are_different_photographs(folder):
    write_set(folder / "again", "", 200)
    data = read(*pair("home"), *pair("again"))
    assert [sizes(each.splits) for each in data.sets] == [COUNTS, COUNTS]
    assert len({photo.path for photo in data.train}) == 8


def test_a_set_in_the_same_folder_with_held_out_photographs_in_common(folder):
    """A second caption file of the same photographs, split by itself otherwise."""
    names = [f'{{"filename": "{name}", "split": "train", "sentences": [{{"raw": "a cat"}}]}}'
             for name in names_by_split("")]  # fmt: skip
    (folder / "home" / "karpathy.json").write_text(f'{{"images": [{", ".join(names)}]}}')
    data = read(*pair("home"), "--captions", "home/karpathy.json", "--images", "home/Images")
    assert [each.name for each in data.sets] == ["captions", "karpathy"]
    held_out = {photo.name for photo in data.first.splits.held_out}
    assert {photo.name for photo in data.others[0].splits.train} == {*names_by_split("")} - held_out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--text", "none.txt"], ["none.txt", "there is no such text file"]),
        (["--text", "home"], ["home: this is a folder", "name the text file in it"]),
        (["--text", "empty.txt"], ["empty.txt: the text file is empty"]),
        (["--text", "latin.txt"], ["latin.txt, line 2: this is not UTF-8 text"]),
        (["--leave-out", "none.txt"], ["none.txt", "there is no such list of names"]),
        (["--leave-out", "text.txt"], ["text.txt: it names no photograph of the data"]),
        (["--manner", "sea_*=web"], ["--manner sea_*=web: no photograph has a name like 'sea_*'"]),
        (pair("web") + pair("missing"), ["missing/captions.txt, line 2: names gone.png"]),
    ],
)
def test_bad_input_gets_one_sentence(folder, arguments, words):
    (folder / "empty.txt").touch()
    (folder / "latin.txt").write_bytes(b"a dog\na caf\xe9\n")
    shutil.copytree(folder / "web", folder / "missing")
    (folder / "missing" / "captions.txt").write_text("image,caption\ngone.png,a dog\n")
    with pytest.raises(CaptioningError) as error:
        read(*pair("home"), *arguments)
    assert [each for each in words if each not in str(error.value)] == []
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("arguments", [[], pair("nowhere")])
def test_text_alone_trains_no_captioner(folder, arguments):
    with pytest.raises(CaptioningError, match=r"no such caption file, and text alone trains no"):
        read("--text", "text.txt", *arguments)


@pytest.mark.parametrize("own", [False, True], ids=["by hash", "by the file"])
def test_of_a_set_without_photographs_to_choose_by_some_are_held_back(folder, own, capsys):
    names = [name for name in names_by_split("") if hashed_split(name) == "train"]
    images = [
        {"filename": name, "split": "train" if own else "", "sentences": [{"raw": "a dog"}]}
        for name in names
    ]
    (folder / "home" / "captions.txt").write_text(json.dumps({"images": images}))
    data = read(*pair("home"), *pair("web"))
    assert [len(data.first.splits.train), len(data.dev)] == [2, 2]
    assert "(2 moved, for a few are always held back)" in capsys.readouterr().out
    assert len(read(*pair("web"), *pair("home")).train) == 8  # others may lack them


# Photographs that cannot be read ----------------------------------------------------------------


def damage(path):
    """Cut a photograph in half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def of_split(split):
    return [name for name in names_by_split("") if hashed_split(name) == split]


@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_damaged_photograph_is_skipped_and_counted(folder, capsys, split):
    bad = damage(folder / "home" / "Images" / of_split(split)[-1])
    data = read(*pair("home"), "--skip-bad")
    assert bad.name not in {photo.name for photo in (*data.train, *data.dev)}
    assert len(data.train) + len(data.dev) == COUNTS["train"] + COUNTS["dev"] - 1
    assert capsys.readouterr().out.startswith(
        f"left out 1 photograph that cannot be read, the first: {bad.relative_to(folder)} is "
        "damaged or incomplete"
    )


def test_several_are_counted_and_the_first_named(folder, capsys):
    first, second = (damage(folder / "home" / "Images" / name) for name in of_split("train")[:2])
    second.write_bytes(b"")
    read(*pair("home"), "--skip-bad")
    said = capsys.readouterr().out
    assert "left out 2 photographs that cannot be read, the first: " in said
    assert first.name in said
    assert second.name not in said


@pytest.mark.parametrize("name", ["home", "web"])
def test_of_several_sets_all_are_checked(folder, name):
    bad = damage(next((folder / name / "Images").iterdir()))
    data = read(*pair("home"), *pair("web"), "--skip-bad")
    used = {photo.path for e in data.sets for photo in (*e.splits.train, *e.splits.held_out)}
    assert len(used) == 2 * sum(COUNTS.values()) - 1
    assert bad not in {path.absolute() for path in used}


def test_what_was_checked_is_not_read_again(folder, monkeypatch):
    bad = damage(folder / "home" / "Images" / of_split("train")[0])
    read(*pair("home"), "--skip-bad")
    seen = []

    def note(source):
        seen.append(source.name)
        return grey_thumbnail(source)

    monkeypatch.setattr(perceptual_hash, "grey_thumbnail", note)
    data = read(*pair("home"), "--skip-bad")
    require_readable(data, folder / "cache")
    assert seen == [bad.name]  # which may have been fetched anew


def test_a_quick_trial_reads_few_photographs_and_replaces_bad_ones(folder, monkeypatch):
    training = of_split("train")
    damage(folder / "home" / "Images" / training[0])
    seen = []

    def note(source):
        seen.append(source.name)
        return grey_thumbnail(source)

    monkeypatch.setattr(perceptual_hash, "grey_thumbnail", note)
    data = read(*pair("home"), "--skip-bad", "--limit", "1")
    assert [photo.name for photo in data.train] == training[1:2]
    assert sorted(seen) == sorted([*training[:2], of_split("dev")[0]])


def test_without_the_flag_the_first_damaged_one_is_one_sentence_that_names_it(folder):
    bad = damage(folder / "home" / "Images" / of_split("dev")[0])
    given = main.parse_arguments(pair("home"))
    data = read_data(given)
    with pytest.raises(CaptioningError) as error, offering_to_skip(given):
        require_readable(data, folder / "cache")
    assert str(error.value) == (
        f"{bad.relative_to(folder)} is damaged or incomplete: save or download it again, or pass "
        "--skip-bad to go on without it"
    )


def test_where_no_photograph_can_be_read_the_sentence_says_so(folder, capsys):
    for path in (folder / "home" / "Images").iterdir():
        damage(path)
    with pytest.raises(CaptioningError, match="there must be photographs to train on"):
        read(*pair("home"), "--skip-bad")
    assert re.match(r"left out \d photographs that cannot be read", capsys.readouterr().out)


def test_a_single_photograph_cannot_be_trained_on(folder):
    (folder / "home" / "captions.txt").write_text(f"image,caption\n{of_split('train')[0]},a dog\n")
    with pytest.raises(CaptioningError, match=r"home/captions\.txt: .* choose the best epoch"):
        read(*pair("home"))


def test_names_in_remarks_are_escaped_and_need_no_unicode(monkeypatch, capsys):
    name = "caf\udce9 \u202f\n.jpg"
    say(f"left out {name}")
    assert capsys.readouterr().out == "left out caf\\udce9 \\u202f\\n.jpg\n"
    stream = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr("sys.stdout", stream)
    say("left out 写真.jpg, café.jpg")
    assert stream.buffer.getvalue() == "left out \\u5199\\u771f.jpg, café.jpg\n".encode("cp1252")
