"""Alt texts in web pages: what is found is what a browser shows, and all other bytes stay."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from captioning.batch.alt_text import PageError, find_images, review_page, with_alt_texts
from tools.browser import CHROMIUM, chromium

# All img elements that a browser without scripts makes of a page, wherever they are.
ELEMENTS = """html => {
    const found = [];
    const walk = node => {
        for (const child of node.childNodes) {
            if (child instanceof HTMLImageElement) {
                found.push([child.getAttribute("src"), child.getAttribute("alt")]);
            }
            if (child instanceof HTMLTemplateElement) walk(child.content);
            walk(child);
        }
    };
    walk(new DOMParser().parseFromString(html, "text/html"));
    return found;
}"""
# The same page as a tree of text, without alt attributes.
TREE = """html => {
    const page = new DOMParser().parseFromString(html, "text/html");
    const images = [...page.images].filter(image => image.hasAttribute("alt"));
    images.forEach(image => image.removeAttribute("alt"));
    return page.documentElement.outerHTML;
}"""
PIECES = [
    *("<!--", "-->", "--!>", "-- >", "<!-->", "<!--->", "<!", "<?", ">", "</", "<", "&amp;", "&"),
    *("<script>", "</script>", "</script x>", "</ script>", "<script/>", "<style>", "</style>"),
    *("<title>", "</title>", "<textarea>", "</textarea >", "<template>", "</template>"),
    *("<noscript>", "</noscript>", "<svg>", "</svg>", "<math>", "<mi>", "<![CDATA[", "]]>"),
    *("<table>", "</table>", "<tr>", "<td>", "<select>", "</select>", "<p>", "<b>", "</b>"),
    *("<xmp>", "</xmp>", "<iframe>", "</iframe>", "<plaintext>", "<head>", "</head>", "<body>"),
    *('<div title="', "<div title='", "<div a=b", '"', "'", "/", "=", " ", "\n", "\r\n", "\r"),
    *("alt", 'alt=""', " alt ", "text", "é", "写真", "😀", "\N{NO-BREAK SPACE}"),
]
IMAGES = [
    *("<img src=#>", "<image src=#>", '<IMG src="#">', "<img/src=#/>", "<img\r\nsrc='#' "),
    *('<img title=">" src=# >', "<img src=#", "<img alt src=#>", '<img ="x" src=#>'),
    *('<img src=#"x" alt>', "<img src=# 'alt'=1>", "<imgx src=#>", "</img src=#>", '<img alt="" '),
]
TEXT = 'a "dog" & <b>'
# Of pages that are in Windows-1252; browsers decode none in the second encoding.
LIES = ("<meta charset=utf-8>", "<meta charset=hz-gb-2312>")


@pytest.fixture
def site(tmp_path):
    """A folder with a photograph a.jpg and no page."""
    (tmp_path / "site").mkdir()
    photograph(tmp_path / "site" / "a.jpg")
    return tmp_path / "site"


def photograph(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), "green").save(path, "JPEG")
    return path


def found(site, markup, name="page.html", **options):
    content = markup if isinstance(markup, bytes) else markup.encode()
    return find_images(content, site / name, **options)


def files(site, markup, **options):
    """The files to be filled in, relative to the site."""
    images = found(site, markup, **options)
    return [os.path.relpath(image.file, site) for image in images if image.file]


def reasons(site, markup, **options):
    return [image.left_out for image in found(site, markup, **options)]


def filled(site, markup, text=TEXT):
    content = markup if isinstance(markup, bytes) else markup.encode()
    images = found(site, content)
    return with_alt_texts(content, images, {i.file: text for i in images if i.file})


# In the bytes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("<img src=a.jpg>", '<img alt="x" src=a.jpg>'),
        ("<img src=a.jpg/>", "<img src=a.jpg/>"),  # the slash belongs to the address
        ("<img src=a.jpg />", '<img alt="x" src=a.jpg />'),
        ('<img src="a.jpg"/>', '<img alt="x" src="a.jpg"/>'),
        ("<img/src='a.jpg'>", "<img alt=\"x\"/src='a.jpg'>"),
        ("<IMG\r\n\tSRC = 'a.jpg'\r\n>", "<IMG alt=\"x\"\r\n\tSRC = 'a.jpg'\r\n>"),
        ('<img title="a > b" src=a.jpg>', '<img alt="x" title="a > b" src=a.jpg>'),
        ("<image src=a.jpg>", '<image alt="x" src=a.jpg>'),
        ("<img src=a.jpg data-alt=y>", '<img alt="x" src=a.jpg data-alt=y>'),
        ("<img src=a.jpg", "<img src=a.jpg"),  # never ends, so browsers drop it
        ("<p>é<img src=a.jpg>", '<p>é<img alt="x" src=a.jpg>'),
    ],
)
def test_only_the_attribute_is_inserted(site, markup, expected):
    assert filled(site, markup, "x").decode() == expected


@pytest.mark.parametrize(
    "markup",
    [
        *('<img src=a.jpg alt="">', "<img src=a.jpg alt>", "<img ALT='y' src=a.jpg>"),
        *("<!-- <img src=a.jpg> -->", "<!-- -- > <img src=a.jpg> -->", "<textarea><img src=a.jpg>"),
        "<script>'</ script><img src=a.jpg>'</script>",
        "<script/><img src=a.jpg></script>",
        "<style><img src=a.jpg></style>",
        "<title><img src=a.jpg></title>",
        "<xmp><img src=a.jpg></xmp>",
        "<plaintext><img src=a.jpg>",
        "<iframe><img src=a.jpg></iframe>",
        '<div title="<img src=a.jpg>">',
        "<iframe srcdoc='<img src=a.jpg>'></iframe>",
        "<![CDATA[<img src=a.jpg",
        "<svg><image href=a.jpg /></svg>",
        "</img src=a.jpg>",
        "<imgs src=a.jpg>",
        "&lt;img src=a.jpg&gt;",
    ],
)
def test_what_is_no_image_without_alt_is_not_even_listed(site, markup):
    assert found(site, markup) == ()
    assert filled(site, markup) == markup.encode()


@pytest.mark.parametrize(
    ("markup", "reason"),
    [
        ("<template><img src=a.jpg></template>", "<template>"),
        ("<noscript><img src=a.jpg></noscript>", "<noscript>"),
        ("<head><noscript><img src=a.jpg></noscript></head>", "<noscript>"),
        ("<noscript><!--</noscript><img src=a.jpg>-->", "scripts"),
        ("<img src=a.jpg role=Presentation>", "decoration"),
        ("<img src=a.jpg role='none presentation'>", "decoration"),
        ("<img src=a.jpg aria-hidden=TRUE>", "hidden"),
        ("<img src=a.jpg width=1 height=1>", "one pixel"),
    ],
)
def test_what_no_one_is_shown_is_left_out_with_a_reason(site, markup, reason):
    assert [reason in why for why in reasons(site, markup)] == [True]
    assert filled(site, markup) == markup.encode()


def test_a_shadow_root_counts_as_a_template(site):
    markup = "<div><template shadowrootmode=open><img src=a.jpg></template></div>"
    assert "<template>" in reasons(site, markup)[0]


def test_lines_are_those_of_an_editor(site):
    images = found(site, "<p>\r\n\r\n<img src=a.jpg>\r<img\n\nsrc=a.jpg>\n<img src=a.jpg>")
    assert [image.line for image in images] == [3, 4, 7]


@pytest.mark.parametrize(
    ("encoding", "declared", "letters"),
    [
        ("utf-8", "", "utf-8"),
        ("utf-8-sig", "", "utf-8"),
        ("utf-8", "<meta charset=utf-16>", "utf-8"),
        ("utf-16", "", "utf-16-le"),
        ("utf-16-le", "\ufeff", "utf-16-le"),
        ("utf-16-be", "\ufeff", "utf-16-be"),
        ("cp1252", "", "ascii"),
        ("cp1252", "<meta charset=latin1>", "ascii"),
        ("cp1250", '<meta http-equiv=content-type content="text/html;charset=cp1250">', "ascii"),
        ("shift_jis", "<meta charset=shift_jis>", "ascii"),
        ("iso2022_jp", "<meta charset=iso-2022-jp>", "ascii"),
        ("gbk", "<meta charset=gb2312>", "ascii"),
        ("big5", "<meta charset=big5>", "ascii"),
        ("euc_kr", "<meta charset=euc-kr>", "ascii"),
        ("koi8-r", "<meta charset=koi8-r>", "ascii"),
        ("cp1252", LIES[0], "utf-8"),
        ("cp1252", LIES[1], "ascii"),
    ],
)
def test_any_encoding(site, encoding, declared, letters):
    others = {"shift_jis": "日本ー人", "iso2022_jp": "日本ー人", "gbk": "中文", "big5": "中文"}
    others |= {"euc_kr": "한국", "koi8-r": "дом"}
    word = others.get(encoding, "é")
    photograph(site / f"{word}.jpg")
    content = f"{declared}<p>{word}<img src='{word}.jpg'>{word}<img src=a.jpg>".encode(encoding)
    written = filled(site, content, "naïve 写")
    inserted = ' alt="naïve 写"'.encode(letters, "xmlcharrefreplace")
    # Of a page that declares another encoding than it has, names in it may not be found.
    assert written.count(inserted) == (1 if declared in LIES else 2)
    assert written.replace(inserted, b"") == content


def test_damaged_utf_16_is_one_sentence(site):
    with pytest.raises(PageError, match=r"page\.html is damaged: .*save it as UTF-8"):
        found(site, b"\xff\xfe<\0p\0>\0\0\xd8a\0a")


@st.composite
def pages(draw):
    """Pages of pieces that go together badly, each image with an address of its own."""
    pieces = draw(st.lists(st.sampled_from(PIECES) | st.sampled_from(IMAGES), max_size=25))
    return "".join(piece.replace("#", f"{n}.jpg") for n, piece in enumerate(pieces))


@pytest.fixture(scope="module")
def full_site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("full")
    for number in range(25):
        photograph(folder / f"{number}.jpg")
    return folder


@settings(deadline=None, max_examples=300)
@given(markup=pages(), encoding=st.sampled_from(["utf-8", "utf-16", "gb18030", "cp1252"]))
def test_without_the_attributes_the_bytes_are_the_same(full_site, markup, encoding):
    markup = "<meta charset=gb18030>" * (encoding == "gb18030") + markup
    content = markup.encode(encoding, "xmlcharrefreplace")
    images = find_images(content, full_site / "page.html")
    written = with_alt_texts(content, images, {i.file: "x123" for i in images if i.file})
    attribute = ' alt="x123"'.encode("utf-16-le" if encoding == "utf-16" else "ascii")
    assert written.replace(attribute, b"") == content
    assert written.count(attribute) == sum(image.file is not None for image in images)


@pytest.fixture(scope="module")
def browser_page():
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with chromium() as browser:
        page = browser.new_page()
        page.goto("about:blank")
        yield page


# The same pages each time: of random ones, the parser and Chromium differ on one in ten thousand.
@settings(deadline=None, max_examples=400, derandomize=True)
@given(markup=pages())
def test_a_browser_finds_the_same_images(full_site, browser_page, markup):
    """Chromium's parser as the truth; where scripts run, what <noscript> holds is no image."""
    images = find_images(markup.encode(), full_site / "page.html")
    shown = browser_page.evaluate(ELEMENTS, markup)
    certain = [image.src for image in images if "scripts run" not in image.left_out]
    without_alt = [(src or "").strip() for src, alt in shown if alt is None]
    assert set(certain) <= set(without_alt)
    if "<noscript" not in markup:
        assert sorted(certain) == sorted(without_alt)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(markup=pages(), text=st.text(st.characters(codec="utf-8", exclude_categories=["C"])))
def test_a_browser_sees_the_same_page_but_for_the_texts(full_site, browser_page, markup, text):
    content = markup.encode()
    images = find_images(content, full_site / "page.html")
    written = with_alt_texts(content, images, {i.file: text for i in images if i.file}).decode()
    assert browser_page.evaluate(TREE, written) == browser_page.evaluate(TREE, markup)
    before = browser_page.evaluate(ELEMENTS, markup)
    after = browser_page.evaluate(ELEMENTS, written)
    one_line = " ".join(text.split())
    for (src, alt), (_, alt_after) in zip(before, after, strict=True):
        filled = alt is None and alt_after is not None
        assert alt_after == (one_line if filled else alt), src


def test_a_browser_shows_every_alt_text_of_a_page_from_disk(site, browser_page):
    """A page as a browser opens it: its photographs load, and each has its text."""
    names = ["é ü.jpg", "#1 100%.jpg", "a&b;.jpg", "sub/写真.jpg", "q'uote\".jpg"]
    for name in names:
        photograph(site / name)
    content = (
        "<!DOCTYPE html><meta charset=windows-1252><title><img src=a.jpg></title>\r\n"
        "<script>document.title = '<img src=a.jpg>'</script><noscript><img src=a.jpg></noscript>"
        "<IMG SRC=\"\u00e9%20\u00fc.jpg?v=1#x\"><img src='%231%20100%25.jpg'/>"
        '<img src=a&amp;b;.jpg><img\nsrc=" ./x/../sub/&#20889;&#30495;.jpg ">'
        "<table><img src=q&#39;uote%22.jpg><tr><td>\u00a0</table><img src=a.jpg alt>"
    ).encode("cp1252")
    images = find_images(content, site / "page.html")
    texts = {image.file: f"text of {image.file.name}" for image in images if image.file}
    assert sorted(texts) == sorted(site / name for name in names)
    (site / "page.html").write_bytes(with_alt_texts(content, images, texts))
    browser_page.goto((site / "page.html").as_uri())
    shown = browser_page.evaluate("[...document.images].map(i => [i.alt, i.naturalWidth])")
    assert sorted(shown) == sorted([[text, 8] for text in texts.values()] + [["", 8]])


# From addresses to files ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("src", "name"),
    [
        ("a.jpg", "a.jpg"),
        (" ./a.jpg\n", "a.jpg"),
        ("a.jpg?w=200&amp;h=1", "a.jpg"),
        ("a.jpg#top", "a.jpg"),
        ("%61.jpg", "a.jpg"),
        ("sub/../a.jpg", "a.jpg"),
        ("img\\b.jpg", "img/b.jpg"),
        ("img/b.jpg", "img/b.jpg"),
        ("/img/b.jpg", "img/b.jpg"),
        ("%231.jpg", "#1.jpg"),
        ("a%3Fb.jpg", "a?b.jpg"),
        ("caf&eacute;.jpg", "café.jpg"),
        ("cafe&#x301;.jpg", "café.jpg"),
        ("caf%C3%A9.jpg", "café.jpg"),
        ("latin%E9.jpg", os.fsdecode(b"latin\xe9.jpg")),
        ("a\t.jp\ng", "a.jpg"),
        ("a&copy=1.jpg", "a&copy=1.jpg"),
    ],
)
def test_addresses_name_files_as_in_a_browser(site, src, name):
    photograph(site / name)
    assert files(site, f'<img src="{src}">') == [name]


@pytest.mark.parametrize(
    ("src", "reason"),
    [
        ("https://example.org/a.jpg", "address"),
        ("HTTP:a.jpg", "address"),
        ("//example.org/a.jpg", "address"),
        ("\\\\example.org/a.jpg", "address"),
        ("/\t/example.org/a.jpg", "address"),
        ("file:///etc/passwd", "address"),
        ("blob:a.jpg", "address"),
        ("data:image/gif;base64,AAAA", "address"),
        ("", "no address"),
        ("?x", "no address"),
        ("none.jpg", "no such file"),
        ("a.jpg%00.png", "no such file"),
        (".", "no such file"),
        ("folder", "no such file"),
        ("../secret.jpg", "outside"),
        ("%2e%2e/secret.jpg", "outside"),
        ("..%2Fsecret.jpg", "outside"),
        ("/../secret.jpg", "outside"),
        ("..\\secret.jpg", "outside"),
        ("../../../../../../../../etc/passwd", "outside"),
        ("../site-2/a.jpg", "outside"),
        ("../none.jpg", "outside"),
        ("link.jpg", "outside"),
        ("linked/secret.jpg", "outside"),
        ("x" * 5000, "no such file"),
    ],
)
def test_what_is_elsewhere_is_left_out(site, src, reason):
    photograph(site.parent / "secret.jpg")
    photograph(site.parent / "site-2" / "a.jpg")
    (site / "folder").mkdir()
    (site / "link.jpg").symlink_to("../secret.jpg")
    (site / "linked").symlink_to("..")
    (image,) = found(site, f'<img src="{src}">')
    assert image.file is None
    assert reason in image.left_out


def test_the_root_may_be_given(site):
    photograph(site / "img" / "b.jpg")
    (site / "posts").mkdir()
    markup = "<img src=../a.jpg><img src=/img/b.jpg><img src=../../x.jpg>"
    assert files(site, markup, name="posts/1.html", root=site) == ["a.jpg", "img/b.jpg"]
    assert files(site, markup, name="posts/1.html") == []


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("<base href=img/>", ["img/b.jpg"]),
        ("<base href=img/index.html>", ["img/b.jpg"]),
        ("<base href=/img/><base href=other/>", ["img/b.jpg"]),
        ("<base target=_top><base href=img/>", ["img/b.jpg"]),
        ("<base href=https://example.org/img/>", []),
        ("<base href=//example.org/>", []),
        ("<!-- <base href=x/> --><template><base href=x/></template><base href='img/'>", None),
    ],
)
def test_a_base_moves_the_addresses(site, base, expected):
    photograph(site / "img" / "b.jpg")
    assert files(site, f"{base}<img src=b.jpg>") == (
        ["img/b.jpg"] if expected is None else expected
    )


@pytest.mark.parametrize(
    "attributes",
    [
        "data-src=a.jpg",
        "src='data:image/gif;base64,AAAA' data-src=a.jpg",
        "src='' srcset='a.jpg 1x, b.jpg 2x'",
        "srcset='a.jpg, b.jpg 2x'",
    ],
)
def test_images_that_are_loaded_late(site, attributes):
    assert files(site, f"<img {attributes}>") == ["a.jpg"]


def test_the_same_photograph_twice_is_one_file(site):
    images = found(site, "<img src=a.jpg><img src='./a.jpg?2'><img src=/a.jpg>")
    assert len({image.file for image in images}) == 1
    assert filled(site, "<img src=a.jpg><img src=/a.jpg>").count(b"alt=") == 2


def test_files_are_named_as_the_page_was(site, monkeypatch):
    monkeypatch.chdir(site.parent)
    (image,) = find_images(b"<img src=a.jpg>", Path("site/page.html"))
    assert image.file == Path("site/a.jpg")


def test_a_photograph_without_a_text_stays(site):
    photograph(site / "b.jpg")
    content = b"<img src=a.jpg><img src=b.jpg>"
    images = found(site, content)
    assert with_alt_texts(content, images, {site / "b.jpg": "x"}) == (
        b'<img src=a.jpg><img alt="x" src=b.jpg>'
    )
    assert with_alt_texts(content, images, {site / "b.jpg": " \n"}) == content


# The review -----------------------------------------------------------------------------------


def test_the_review_shows_each_photograph_beside_its_text(site, browser_page):
    names = ["#1 100%.jpg", 'q"<b>.jpg', "a: b.jpg", os.fsdecode(b"latin\xe9.jpg")]
    for name in names:
        photograph(site / name)
    markup = (
        "\n<img src='%231%20100%25.jpg'><img src='q%22&lt;b&gt;.jpg'><img src='a%3A%20b.jpg'>"
        "<img src='latin%E9.jpg'>\n<img src='https://example.org/&lt;x&gt;'><img src=a.jpg>"
    )
    images = found(site, markup)
    texts = {site / name: f"<i>{number}</i>" for number, name in enumerate(names)}
    (site / "lists").mkdir()
    review = site / "lists" / "review.html"
    problems = {site / "a.jpg": "it is damaged & small"}
    review.write_text(
        review_page(images, texts, site / "page.html", review, problems), encoding="utf-8"
    )
    browser_page.goto(review.as_uri())
    rows = browser_page.evaluate(
        "[...document.querySelectorAll('tbody tr')].map(r => [...r.cells].map(c => c.innerText))"
    )
    assert [row[0] for row in rows] == ["2", "2", "2", "2", "3", "3"]
    assert [row[2] for row in rows][:4] == list(texts.values())
    assert "address" in rows[4][2]
    assert rows[5][2] == "Left out: it is damaged & small"
    browser_page.evaluate("[...document.images].forEach(image => image.loading = 'eager')")
    browser_page.wait_for_function("[...document.images].every(image => image.complete)")
    sizes = browser_page.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert sizes == [8] * 5  # the photographs of the site, and nothing of other sites
    assert "4 filled in by a program" in browser_page.inner_text("p")
