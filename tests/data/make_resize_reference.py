#!/usr/bin/python3
"""Digests of what Pillow makes of a picture of noise, for tests/unit/test_resize.c. Needs python3-pil.

usage: make_resize_reference.py      prints the two tables; Pillow 9.4 made those that the test has
"""
import io

from PIL import Image, ImageOps

FILTERS = {'nearest': 0, 'box': 4, 'bilinear': 2, 'hamming': 5, 'bicubic': 3, 'lanczos': 1}


def noise(width, height):
    state, out = 1, bytearray()
    for _ in range(3 * width * height):
        state = (state * 1103515245 + 12345) & 0x7fffffff
        out.append(state >> 16 & 255)
    return Image.frombytes('RGB', (width, height), bytes(out))


def fnv(data):
    h = 14695981039346656037
    for b in data:
        h = (h ^ b) * 1099511628211 & 0xffffffffffffffff
    return h


def planes(image):
    """[channels][height][width]"""
    return b''.join(c.tobytes() for c in image.split())


def resize(image, size, resample):
    """torchvision.transforms.functional.resize of a PIL image"""
    w, h = image.size
    if len(size) == 2:
        return image.resize((size[1], size[0]), resample)
    short, long = (w, h) if w <= h else (h, w)
    if short == size[0]:
        return image
    new_short, new_long = size[0], int(size[0] * long / short)
    return image.resize((new_short, new_long) if w <= h else (new_long, new_short), resample)


def center_crop(image, height, width):
    """torchvision.transforms.functional.center_crop of a PIL image"""
    w, h = image.size
    if width > w or height > h:
        left, top = (width - w) // 2 if width > w else 0, (height - h) // 2 if height > h else 0
        right, bottom = (width - w + 1) // 2 if width > w else 0, (height - h + 1) // 2 if height > h else 0
        image = ImageOps.expand(image, (left, top, right, bottom), fill=0)
        w, h = image.size
    top, left = int(round((h - height) / 2.0)), int(round((w - width) / 2.0))
    return image.crop((left, top, left + width, top + height))


for name, resample in FILTERS.items():
    for size in ((9, 7), (50, 41), (37, 10), (5, 23), (3, 60)):
        print(f'{{"{name}", {size[0]}, {size[1]}, {fnv(noise(37, 23).resize(size, resample).tobytes()):#x}}},')
print()
for (w, h), size, crop, name, mode, turned in (
        ((37, 23), (16,), (16, 16), 'bilinear', 'RGB', 1), ((23, 37), (17,), (12, 15), 'bicubic', 'RGB', 1),
        ((37, 23), (), (8, 11), 'bilinear', 'RGB', 1), ((37, 23), (), (30, 50), 'bilinear', 'RGB', 1),
        ((37, 23), (12, 31), (10, 30), 'lanczos', 'RGB', 1), ((37, 23), (40,), (38, 41), 'bilinear', 'RGB', 1),
        ((37, 23), (16,), (16, 16), 'bilinear', 'L', 1), ((37, 23), (23,), (23, 23), 'bicubic', 'RGB', 1),
        *(((37, 23), (16,), (15, 14), 'bilinear', 'RGB', o) for o in range(2, 9))):
    image = noise(w, h)
    if turned > 1:
        exif = Image.Exif()
        exif[0x0112] = turned
        b = io.BytesIO()
        image.save(b, 'PNG', exif=exif.tobytes())
        image = ImageOps.exif_transpose(Image.open(b))
    image = image.convert(mode)
    image = center_crop(resize(image, size, FILTERS[name]) if size else image, *crop)
    sizes = ', '.join(str(s) for s in size) or '0'
    print(f'{{{w}, {h}, {len(size)}, {{{sizes}}}, {crop[0]}, {crop[1]}, "{name}", {len(mode)}, {turned}, '
          f'{fnv(planes(image)):#x}}},')
