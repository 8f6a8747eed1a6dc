"""Thumbnails within a budget, each image once; the map's coordinates; a page that always fits."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spcl.pages import image_map
from spcl.pages.group_cards import GroupedImages
from spcl.pages.image_map import SIDE, coordinates, principal_components
from spcl.pages.page import Report, common_folder, render
from spcl.pages.pictures import PictureBook
from tests.fakes import draw
from tests.pages.pages_read import read


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    return [draw(folder / f"{number}.jpg", number, size=(32, 64)) for number in range(60)]


@pytest.mark.parametrize("budget", [10_000, 40_000, 400_000])
def test_sheets_are_within_the_budget(paths, budget):
    book = PictureBook(num_threads=2)
    for path in paths:
        book.picture(path)
    book.draw(budget)
    assert len(book.css()) <= budget
    assert all(book.place(book.picture(path)) is not None for path in paths)


def test_more_bytes_give_larger_pictures_and_what_a_tier_leaves_goes_to_the_next(paths):
    areas = []
    for budget in (8_000, 60_000, 600_000):
        book = PictureBook()
        for path in paths:
            book.picture(path, "large")
        book.draw(budget)
        areas.append(max(sheet.cell[1] for sheet in book._sheets))
    assert areas == sorted(areas) and len(set(areas)) == 3
    book = PictureBook()
    book.picture(paths[0], "large")
    for path in paths[1:]:
        book.picture(path, "tiny")
    book.draw(60_000)
    assert book._sheets[-1].cell[1] == 96


def test_one_image_is_stored_once_a_tier_and_a_missing_one_says_so(paths):
    book = PictureBook()
    first, again = book.picture(paths[0]), book.picture(paths[0])
    assert first == again == book.best_of(paths[0]) and len(book) == 1
    gone = book.picture(Path("/gone/<x>.jpg"))
    assert book.best_of(Path("/gone/other.jpg")).tier == "tiny"
    book.draw(50_000)
    book.css()
    assert book.place(gone) is None and not book.is_drawn(gone)
    assert book.html(gone, '<"x">') == '<i class="p none" role="img" aria-label="&lt;&#34;x&#34;&gt;">no picture</i>'
    assert 'aria-label="&lt;b&gt;"' in book.html(first, "<b>")


def test_each_cell_shows_its_own_image(paths):
    """The mean colour of the pixels that the style selects is that of the image."""
    book = PictureBook()
    pictures = [book.picture(path) for path in paths]
    book.draw(500_000)
    report = Report(title="t", about="groups", subtitle="", summary=(), made="", book=book)
    sheets = read(render(report)).pictures()
    from PIL import Image

    for path, picture in zip(paths, pictures, strict=True):
        kind, column, row = book.place(picture)
        number = int(re.search(r"s(\d+)", kind)[1])
        width, height = book._sheets[number].cell
        cell = sheets[number].crop((column * width, row * height, (column + 1) * width, (row + 1) * height))
        shown, wanted = (np.asarray(image.resize((4, 8)), dtype=float) for image in (cell, Image.open(path)))
        assert np.abs(shown - wanted).mean() < 12


def test_a_page_fits_whatever_the_budget_of_its_text(paths):
    book = PictureBook()
    for path in paths:
        book.picture(path, "large")
    report = Report(title="t", about="groups", subtitle="", summary=("a sentence",) * 3, made="today", book=book)
    large = len(render(report).encode())
    page = render(replace(report, warnings=("x" * 700_000,)), most_bytes=950_000)
    assert len(page.encode()) <= 950_000
    assert large > 30_000


def test_principal_components_are_those_of_the_decomposition():
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(80, 12)) * np.linspace(3, 0.2, 12)).astype(np.float32)
    before = rows.copy()
    found, share = principal_components(rows, 5)
    centred = rows - rows.mean(axis=0)
    left, lengths, _ = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(found), np.abs(left[:, :5] * lengths[:5]), rtol=2e-3, atol=2e-3)
    assert share == pytest.approx((lengths[:2] ** 2).sum() / (lengths**2).sum(), rel=1e-3)
    assert (rows == before).all()


@pytest.mark.parametrize("rows", [np.ones((3, 2)), np.eye(3), np.zeros((70, 1)) + 1, np.eye(80, 4)])
def test_degenerate_features_have_places(rows, monkeypatch):
    monkeypatch.setattr(image_map, "find_spec", lambda name: None)
    places, words = coordinates(rows.astype(np.float32))
    assert places.shape == (len(rows), 2) and places.dtype == np.int64
    assert (places >= 0).all() and (places <= SIDE).all()
    assert "principal components" in words
    assert ("pip install" in words) == (len(rows) >= 60)


@pytest.mark.slow
def test_pacmap_keeps_groups_together():
    pytest.importorskip("pacmap")
    rng = np.random.default_rng(0)
    group = np.arange(120) % 4
    rows = (3 * np.eye(16)[group] + rng.normal(size=(120, 16)) * 0.3).astype(np.float32)
    places, words = coordinates(rows)
    assert "PaCMAP" in words
    middles = np.stack([places[group == number].mean(axis=0) for number in range(4)])
    nearest = np.linalg.norm(places[:, None] - middles[None], axis=2).argmin(axis=1)
    assert (nearest == group).mean() > 0.95


def test_numbers_of_groups_go_by_size_and_titles_keep_theirs():
    numbers = np.array([9, 4, 4, -1, 9, 4, 7])
    found = GroupedImages.of_numbers(numbers, None, "", {9: "Anna"})
    assert found.group.tolist() == [1, 0, 0, -1, 1, 0, 2]
    assert found.titles == ("group 4", "Anna (group 9)", "group 7")
    assert GroupedImages.of_numbers(np.array([-1, -1]), None, "").titles == ()


def test_the_folder_above_all_paths():
    assert common_folder(()) == ""
    assert common_folder((Path("/a/b/c.jpg"), Path("/a/d.jpg"))) == "/a/"
    assert common_folder((Path("/a/c.jpg"), Path("/b/d.jpg"))) == ""
