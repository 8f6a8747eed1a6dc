import json
import shutil
import sys
import tracemalloc

import numpy as np
import pytest
from PIL import Image

import spcl
from spcl.cli.main import main
from spcl.data.image_sources import images_of
from spcl.footage.crop_choice import CropChoice
from spcl.footage.cut_crops import CropsRequest, cut_crops
from spcl.footage.track_boxes import TrackFileOptions
from spcl.footage.video import _pixels_of
from tests.footage.small_video import HEIGHT, SPEC, WIDTH, frames, write_mot, write_pictures, write_video
from tests.input_errors import input_error


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    pytest.importorskip("av")
    folder = tmp_path_factory.mktemp("footage")
    pictures, rows = frames()
    write_video(folder / "gate.mp4", pictures)
    write_mot(folder / "gate.txt", rows)
    write_pictures(folder / "img1", pictures)
    return folder


def rows_of(table):
    found = images_of(table)
    return found, [dict(zip(found.columns, cells, strict=True)) for cells in zip(*found.columns.values(), strict=True)]


def test_crops_show_what_is_in_the_boxes(footage, tmp_path):
    cut = spcl.cut_crops(CropsRequest(footage / "gate.mp4", footage / "gate.txt", tmp_path / "crops"))
    assert (cut.camera, cut.format, cut.num_boxes, cut.num_frames) == ("gate", "MOTChallenge", 24, 12)
    assert (cut.num_tracks, cut.num_crops, cut.left_out, cut.notes) == (2, 16, {}, ())
    found, rows = rows_of(cut.table)
    assert len(found.records) == 16
    pictures, _ = frames()
    for record, row in zip(found.records, rows, strict=True):
        box = slice(row["y"], row["y"] + row["h"]), slice(row["x"], row["x"] + row["w"])
        expected = pictures[row["frame"] - 1][box].astype(float)
        crop = np.asarray(Image.open(record.path), dtype=float)
        assert crop.shape == expected.shape
        # Two lossy formats lie between them; another frame or a shifted box differs far more.
        assert np.abs(crop - expected).mean() < 12
        assert row["seconds"] == pytest.approx(0.04 * (row["frame"] - 1))
        assert row["camera"] == "gate" and row["confidence"] == 0.9
    for track in ("1", "2"):
        of_track = [row for row in rows if str(row["track"]) == track]
        assert max(row["quality"] for row in of_track) == 1
        assert [row["frame"] for row in of_track] == sorted({row["frame"] for row in of_track})
        # Spread: each of eight parts of twelve frames has one.
        assert [(row["frame"] - 1) * 8 // 12 for row in of_track] == list(range(8))


def test_a_folder_of_frames_gives_the_same_boxes(footage, tmp_path):
    cut = cut_crops(CropsRequest(footage / "img1", footage / "gate.txt", tmp_path / "a", fps=25, start="2026-03-01"))
    _, rows = rows_of(cut.table)
    times = {row["frame"]: row["time"] for row in rows}
    assert str(times[rows[0]["frame"]]).startswith("2026-03-01 00:00:00")
    assert all(
        (time - times[min(times)]).total_seconds() == pytest.approx(0.04 * (n - min(times)))
        for n, time in times.items()
    )
    without = cut_crops(CropsRequest(footage / "img1", footage / "gate.txt", tmp_path / "b"))
    assert "12 of 12 frames have no time" in without.notes[0] and "--fps" in without.notes[0]
    assert "seconds" not in images_of(without.table).columns
    assert without.num_crops == cut.num_crops == 16


def test_every_box_that_is_not_used_is_counted(footage, tmp_path):
    _, rows = frames()
    write_mot(
        tmp_path / "t.txt",
        [
            *rows,
            (3, 1, 0, 0, 20, 20),
            (4, 5, 0, 0, 0, 10),
            (5, 6, -100, 0, 20, 20),
            (5, 7, WIDTH - 3, HEIGHT - 3, 20, 20),
            (40, 8, 5, 5, 10, 10),
            (41, 8, 5, 5, -10, 10),
            (0, 1, 5, 5, 10, 10),
        ],
    )
    request = CropsRequest(
        footage / "gate.mp4", tmp_path / "t.txt", tmp_path / "crops", reading=TrackFileOptions(first_frame="1")
    )
    cut = cut_crops(request)
    assert dict(cut.left_out) == {
        "of a track that has another box in the frame": 1,
        "without an area": 1,
        "outside the picture": 2,
        "in a frame that the video does not have": 3,
    }
    assert cut.num_boxes == 31 and cut.num_crops == 16
    assert cut.tracks_without_crop == ("5", "6", "7", "8")
    assert images_of(cut.table).records[0].path.parent.parent == tmp_path / "crops/gate"


def test_the_sharpest_crop_of_a_part_is_kept(tmp_path):
    pictures, rows = frames(9)
    for at in range(9):
        if at not in (1, 5, 6):
            blurred = Image.fromarray(pictures[at]).resize((20, 12)).resize((WIDTH, HEIGHT))
            pictures[at] = np.asarray(blurred)
    write_pictures(tmp_path / "img1", pictures)
    write_mot(tmp_path / "t.txt", [row for row in rows if row[1] == 1])
    cut = cut_crops(CropsRequest(tmp_path / "img1", tmp_path / "t.txt", tmp_path / "c", choice=CropChoice(best=3)))
    assert [row["frame"] for row in rows_of(cut.table)[1]] == [2, 6, 7]
    every = cut_crops(CropsRequest(tmp_path / "img1", tmp_path / "t.txt", tmp_path / "d", choice=CropChoice(best=0)))
    assert every.num_crops == 9


def test_a_variable_frame_rate_gives_right_times(footage, tmp_path):
    pictures, rows = frames(6)
    times = [0, 40, 80, 500, 540, 900]
    video = write_video(tmp_path / "v.mkv", pictures, times)
    cut = cut_crops(CropsRequest(video, write_mot(tmp_path / "t.txt", rows), tmp_path / "c", start="2026-03-01 10:00"))
    assert "variable frame rate" in cut.notes[0] and "40 to 420 ms" in cut.notes[0]
    _, found = rows_of(cut.table)
    assert {row["frame"]: round(1000 * row["seconds"]) for row in found} == dict(enumerate(times, start=1))
    assert str(found[-1]["time"]) == "2026-03-01 10:00:00.900000"


def test_first_frame_0_is_recognised(footage, tmp_path):
    _, rows = frames()
    text = "frame,track,left,top,width,height,camera,identity\n"
    text += "".join(f"{n - 1},{t},{x},{y},{w},{h},gate,{'Ada' if t == 1 else ''}\n" for n, t, x, y, w, h in rows)
    (tmp_path / "t.csv").write_text(text + "0,9,1,1,20,20,yard,\n")
    cut = cut_crops(CropsRequest(footage / "gate.mp4", tmp_path / "t.csv", tmp_path / "c"))
    assert cut.num_crops == 16 and dict(cut.left_out) == {"of another camera": 1}
    found = images_of(cut.table, labelled=False)
    assert set(found.columns["identity"]) == {"Ada", None}
    assert min(found.columns["frame"]) < 2
    with input_error("no-such-camera", "gate, yard", "door"):
        cut_crops(CropsRequest(footage / "gate.mp4", tmp_path / "t.csv", tmp_path / "d", camera="door"))


def test_cameras_are_added_to_one_folder_and_never_mixed(footage, tmp_path):
    def request(camera, **options):
        return CropsRequest(footage / "gate.mp4", footage / "gate.txt", tmp_path / "c", camera=camera, **options)

    cut_crops(request("north gate"))
    cut_crops(request("south", choice=CropChoice(best=2)))
    found = images_of(tmp_path / "c/crops.csv")
    assert [found.columns["camera"].count(name) for name in ("north gate", "south")] == [16, 4]
    before = (tmp_path / "c/crops.csv").read_bytes()
    with input_error("already-exists", "south", "--overwrite"):
        cut_crops(request("south"))
    assert (tmp_path / "c/crops.csv").read_bytes() == before
    cut_crops(request("south", choice=CropChoice(best=1), overwrite=True))
    found = images_of(tmp_path / "c/crops.csv")
    assert [found.columns["camera"].count(name) for name in ("north gate", "south")] == [16, 2]
    assert len(list((tmp_path / "c/south").rglob("*.jpg"))) == 2
    hidden = [entry.name for entry in (tmp_path / "c").iterdir() if entry.name.startswith(".")]
    assert hidden in ([], [".crops.lock"])  # the file of the lock stays on some systems


def test_a_folder_of_crops_read_as_a_folder_says_what_is_not_used(footage, tmp_path):
    cut = cut_crops(CropsRequest(footage / "img1", footage / "gate.txt", tmp_path / "c"))
    found = images_of(tmp_path / "c")
    assert len(found) == cut.num_crops and "track" not in found.columns
    assert any("crops.csv are not used" in note for note in found.notes)
    assert not any("crops.csv" in note for note in images_of(footage / "img1").notes)


def test_a_folder_of_other_files_is_refused(footage, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("mine")
    with input_error("folder-not-empty", "other"):
        cut_crops(CropsRequest(footage / "gate.mp4", footage / "gate.txt", tmp_path / "other"))
    (tmp_path / "other/crops.csv").write_text("path,price\na.jpg,3\n")
    with input_error("folder-not-empty", "camera"):
        cut_crops(CropsRequest(footage / "gate.mp4", footage / "gate.txt", tmp_path / "other"))
    assert (tmp_path / "other/notes.txt").read_text() == "mine"
    with input_error("not-a-folder"):
        cut_crops(CropsRequest(footage / "gate.mp4", footage / "gate.txt", tmp_path / "other/notes.txt"))


def test_an_interrupted_run_leaves_nothing(footage, tmp_path, monkeypatch):
    cut_crops(CropsRequest(footage / "gate.mp4", footage / "gate.txt", tmp_path / "c", camera="a"))
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))

    def stop(self):
        raise KeyboardInterrupt

    monkeypatch.setattr("spcl.footage.crops_folder.CropsWriter.sort", stop)
    for camera, folder in (("b", "c"), ("a", "new/c")):
        with pytest.raises(KeyboardInterrupt):
            cut_crops(CropsRequest(footage / "gate.mp4", footage / "gate.txt", tmp_path / folder, camera=camera))
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before


def test_tracks_with_similar_names_have_different_folders(footage, tmp_path):
    (tmp_path / "t.csv").write_text("frame,track,x,y,w,h\n1,a/b,4,4,24,48\n1,a b,40,4,24,48\n1,../x,80,4,24,48\n")
    cut = cut_crops(CropsRequest(footage / "img1", tmp_path / "t.csv", tmp_path / "c"))
    assert cut.num_crops == 3
    paths = [record.path.relative_to(tmp_path / "c") for record in images_of(cut.table).records]
    assert len(set(paths)) == 3 and all(len(path.parts) == 3 for path in paths)


def test_faulty_videos(footage, tmp_path, monkeypatch):
    tracks = footage / "gate.txt"
    (tmp_path / "bad.mp4").write_bytes(b"no video" * 100)
    with input_error("damaged-file", "bad.mp4"):
        cut_crops(CropsRequest(tmp_path / "bad.mp4", tracks, tmp_path / "c"))
    with input_error("no-such-file", "nowhere.mp4"):
        cut_crops(CropsRequest(tmp_path / "nowhere.mp4", tracks, tmp_path / "c"))
    with input_error("option-does-not-apply", "--fps 5"):
        cut_crops(CropsRequest(footage / "gate.mp4", tracks, tmp_path / "c", fps=5))
    (tmp_path / "late.txt").write_text("900,1,5,5,20,20\n")
    with input_error("no-crops", "1 in a frame that the video does not have"):
        cut_crops(CropsRequest(footage / "gate.mp4", tmp_path / "late.txt", tmp_path / "c"))
    with input_error("not-a-time", "yesterday"):
        CropsRequest(footage / "gate.mp4", tracks, tmp_path / "c", start="yesterday")
    monkeypatch.setitem(sys.modules, "av", None)
    with input_error("package-not-installed", "spcl[video]"):
        cut_crops(CropsRequest(footage / "gate.mp4", tracks, tmp_path / "c"))
    assert not (tmp_path / "c").exists()


def test_a_cut_off_recording_and_a_broken_frame_are_reported(footage, tmp_path):
    pictures, rows = frames()
    video = write_video(tmp_path / "v.mkv", pictures)
    content = video.read_bytes()
    video.write_bytes(content[: len(content) // 2])
    cut = cut_crops(CropsRequest(video, write_mot(tmp_path / "t.txt", rows), tmp_path / "c"))
    assert 0 < cut.num_frames < 12
    assert cut.left_out["in a frame that the video does not have"] == 24 - 2 * cut.num_frames
    shutil.copytree(footage / "img1", tmp_path / "img1")
    (tmp_path / "img1/000003.jpg").write_bytes(b"broken")
    cut = cut_crops(CropsRequest(tmp_path / "img1", tmp_path / "t.txt", tmp_path / "d"))
    assert dict(cut.left_out) == {"in a frame that cannot be read": 2}


def test_pictures_without_numbers_are_no_frames(footage, tmp_path):
    (tmp_path / "p").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "p/one.jpg")
    with input_error("no-images", "one.jpg"):
        cut_crops(CropsRequest(tmp_path / "p", footage / "gate.txt", tmp_path / "c"))
    for name in ("a_1.jpg", "b_1.jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / "p" / name)
    (tmp_path / "p/one.jpg").unlink()
    with input_error("ambiguous-folder", "_1.jpg"):
        cut_crops(CropsRequest(tmp_path / "p", footage / "gate.txt", tmp_path / "c"))


def test_a_picture_of_a_phone_is_turned_upright():
    class OnItsSide:
        rotation = 90

        def to_ndarray(self, format):
            return np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)

    turned = _pixels_of(OnItsSide())()
    assert turned.shape == (3, 2, 3)
    np.testing.assert_array_equal(turned, np.rot90(OnItsSide().to_ndarray("rgb24")))


def test_memory_does_not_grow_with_the_video(tmp_path):
    def peak(num):
        folder = tmp_path / f"{num}"
        folder.mkdir()
        picture = np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)
        for number in range(1, num + 1):
            Image.fromarray(picture).save(folder / f"{number:06d}.bmp")
        write_mot(tmp_path / "t.txt", [(n, 1, 4, 4, SPEC.width, SPEC.height) for n in range(1, num + 1)])
        tracemalloc.start()
        cut_crops(CropsRequest(folder, tmp_path / "t.txt", tmp_path / f"c{num}", choice=CropChoice(best=2)))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(5)
    # 180 further crops of 3456 bytes would be 620 kB.
    assert peak(200) - peak(20) < 250_000


def test_the_command(footage, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _, rows = frames()
    write_mot(tmp_path / "t.txt", [*rows, (99, 3, 0, 0, 20, 20)])
    main(["crops", str(footage / "gate.mp4"), "t.txt", "-o", "crops", "--best", "4", "--camera", "7"])
    shown = capsys.readouterr().out
    assert "camera 7: 8 crops of 2 tracks, from 25 boxes (MOTChallenge) in 12 frames" in shown
    assert "1 box(es) are not used: in a frame that the video does not have" in shown
    main(["crops", str(footage / "img1"), "t.txt", "-o", "crops", "--fps", "25", "--json"])
    plain = json.loads(capsys.readouterr().out)
    assert plain["num_crops"] == 16 and plain["tracks_without_crop"] == ["3"] and plain["camera"] == "img1"
