"""Pictures of many requests, decoded from memory and analysed together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mien.errors import InputError, TooManyPixelsError
from mien.pipeline.analyzer import Analyzer
from mien.pipeline.pictures import decode_picture, picture_size
from mien.serve.refusals import Refusal
from mien.types.faces import Faces

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""Of Pillow, that are read from strangers: those of cameras, phones and screens. Others reach for helper programs or are
seldom tried."""
BATCH_PIXELS = 4_000_000
"""Pictures of more pixels than this together gain nothing from each other, and cost memory at once."""


@dataclass(frozen=True, eq=False)
class Read:
    """What was found in one picture: its faces, and its size (width, height) upright."""

    faces: Faces
    size_wh_px: tuple[int, int]


@dataclass(eq=False)
class _Waiting:
    image: np.ndarray
    answer: asyncio.Future[Faces]


class PixelRoom:
    """So many pixels may be decoded at once, for all requests; who asks first gets first."""

    def __init__(self, pixels: int) -> None:
        self.free = pixels
        self._line, self._freed = asyncio.Lock(), asyncio.Event()

    @contextlib.asynccontextmanager
    async def of(self, pixels: int) -> AsyncIterator[None]:
        """Hold so many, when they are free."""
        async with self._line:
            while self.free < pixels:
                self._freed.clear()
                await self._freed.wait()
            self.free -= pixels
        try:
            yield
        finally:
            self.free += pixels
            self._freed.set()


class Batcher:
    """Gathers the pictures that wait, and lets the analyzer read them together, in a thread of its own.

    Args:
        analyzer: what reads them. Its answers do not depend on what else is in a batch.
        most: pictures of one batch.
        wait_s: how long a picture waits for others that are being decoded.
        pixels: of one picture; the decoded pictures of all requests hold no more together.
        seen: called after each batch with its pictures, faces and seconds.
    """

    def __init__(
        self,
        analyzer: Analyzer,
        most: int,
        wait_s: float,
        pixels: int,
        seen: Callable[[int, int, float], None] = lambda pictures, faces, seconds: None,
    ) -> None:
        self.analyzer, self.most, self.wait_s, self.pixels, self.seen = analyzer, most, wait_s, pixels, seen
        Image.init()
        self._formats = tuple(name for name in FORMATS if name in Image.OPEN)
        self._room = PixelRoom(pixels)
        self._waiting: deque[_Waiting] = deque()
        self._coming = 0
        self._came = asyncio.Event()
        self._decoders = ThreadPoolExecutor(min(4, os.cpu_count() or 1), "mien-decode")
        self._reader = ThreadPoolExecutor(1, "mien-read")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; needs the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End; what still waits is not answered."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._decoders.shutdown()
        self._reader.shutdown()

    @property
    def running(self) -> bool:
        """Whether pictures are read."""
        return self._task is not None and not self._task.done()

    async def read(self, content: bytes) -> Read:
        """The faces of one picture file, with those of whoever asks at the same time.

        Raises:
            Refusal: no picture, damaged, or with too many pixels.
        """
        loop = asyncio.get_running_loop()
        self._coming += 1
        try:
            width, height = await loop.run_in_executor(self._decoders, self._size, content)
        finally:
            self._coming -= 1
        async with self._room.of(width * height):
            self._coming += 1
            try:
                decoding = loop.run_in_executor(self._decoders, self._image, content)
                try:
                    image = await asyncio.shield(decoding)
                except asyncio.CancelledError:
                    await asyncio.wait([decoding])  # its thread holds the room until it has done
                    raise
            finally:
                self._coming -= 1
            waiting = _Waiting(image, loop.create_future())
            self._waiting.append(waiting)
            self._came.set()
            return Read(await waiting.answer, (image.shape[1], image.shape[0]))

    def _size(self, content: bytes) -> tuple[int, int]:
        try:
            width, height = picture_size(content, self._formats)
        except TooManyPixelsError:
            raise self._too_many("a picture with far more") from None
        except InputError as error:
            raise Refusal("not_a_picture", str(error)) from None
        if width * height > self.pixels:
            raise self._too_many(f"{width} x {height}")
        return width, height

    def _too_many(self, got: str) -> Refusal:
        return Refusal(
            "too_many_pixels",
            f"expected at most {self.pixels} pixels (megapixels), got {got}. Make the picture smaller.",
        )

    def _image(self, content: bytes) -> np.ndarray:
        try:
            return decode_picture(content, self._formats)
        except InputError as error:
            raise Refusal("not_a_picture", str(error)) from None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._came.wait()
            if self._coming and len(self._waiting) < self.most:
                await asyncio.sleep(self.wait_s)
            batch = self._next()
            if not self._waiting:
                self._came.clear()
            if not batch:
                continue
            start = time.perf_counter()
            answers = await loop.run_in_executor(self._reader, self._read, [one.image for one in batch])
            faces = 0
            for one, answer in zip(batch, answers, strict=True):
                if one.answer.done():  # whoever asked has gone
                    continue
                if isinstance(answer, Faces):
                    faces += len(answer)
                    one.answer.set_result(answer)
                else:
                    one.answer.set_exception(answer)
            self.seen(len(batch), faces, time.perf_counter() - start)

    def _next(self) -> list[_Waiting]:
        """The next batch, in the order in which they came."""
        batch: list[_Waiting] = []
        pixels = 0
        while self._waiting and len(batch) < self.most:
            one = self._waiting[0]
            pixels += one.image.shape[0] * one.image.shape[1]
            if batch and pixels > BATCH_PIXELS:
                break
            self._waiting.popleft()
            if not one.answer.done():
                batch.append(one)
        return batch

    def _read(self, images: list[np.ndarray]) -> list[Faces | Exception]:
        """The faces of each image. Where a batch fails each is tried alone, so that one does not spoil the others."""
        try:
            return [*self.analyzer.analyze_images(images)]
        except Exception as error:
            if len(images) == 1:
                return [error]
        return [self._read([image])[0] for image in images]
