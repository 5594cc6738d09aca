"""Pairs of image and caption, written in the true format of each project."""

import csv
import io
import json


def kaggle(pairs):
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([("image", "caption"), *pairs])
    return file.getvalue()


def spreadsheet(pairs):
    """As a spreadsheet saves it: another column, another order."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(("caption", "photographer", "image"))
    writer.writerows((caption, "me, myself", image) for image, caption in pairs)
    return file.getvalue()


def tokens(pairs):
    counts = {}
    lines = []
    for image, caption in pairs:
        counts[image] = counts.get(image, -1) + 1
        lines.append(f"{image}#{counts[image]}\t{caption}\n")
    return "".join(lines)


def flickr30k(pairs):
    """results.csv: a blank after each bar."""
    lines = ["image_name| comment_number| comment\n"]
    lines += [f"{image}| {count % 5}| {text}\n" for count, (image, text) in enumerate(pairs)]
    return "".join(lines)


def karpathy(pairs, splits=("train", "val", "test")):
    """dataset_flickr8k.json: sentences under their image, with ids, and a split."""
    images, count = [], 0
    names = list(dict.fromkeys(image for image, _ in pairs))
    for index, name in enumerate(names):
        sentences = []
        for _, text in (pair for pair in pairs if pair[0] == name):
            words = text.lower().split()
            sentences.append({"tokens": words, "raw": text, "imgid": index, "sentid": count})
            count += 1
        images.append(
            {
                "sentids": [each["sentid"] for each in sentences],
                "imgid": index,
                "sentences": sentences,
                "split": splits[index % len(splits)],
                "filename": name,
            }
        )
    return json.dumps({"images": images, "dataset": "flickr8k"})


def coco(pairs):
    """captions_val2014.json: images and annotations apart, joined by an id."""
    names = list(dict.fromkeys(image for image, _ in pairs))
    ids = {name: 1000 + 7 * index for index, name in enumerate(names)}
    images = [
        {"license": 3, "file_name": name, "height": 480, "width": 640, "id": number}
        for name, number in ids.items()
    ]
    annotations = [
        {"image_id": ids[image], "id": index, "caption": text}
        for index, (image, text) in enumerate(pairs)
    ]
    content = {"info": {"year": 2014}, "images": images, "licenses": []}
    return json.dumps(content | {"annotations": annotations})


def results(pairs):
    """What a system writes that is evaluated with coco-caption, as one list."""
    return json.dumps([{"image_id": image, "caption": text} for image, text in pairs])


def json_lines(pairs, key="file"):
    """As ``python -m captioning --json`` writes them."""
    rows = [{key: image, "caption": text} for image, text in pairs]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


FORMATS = [kaggle, spreadsheet, tokens, flickr30k, karpathy, coco, results, json_lines]
