"""The main job: files or arrays in, typed results out. Detect, align, judge, read the expression."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mien.errors import DataError, InputError, OptionError, WeightsError
from mien.explain.affect import derived_affect
from mien.explain.evidence import disagreement, evidence_for
from mien.faces.following import Follower
from mien.faces.mesh import FaceMesh
from mien.faces.mesh_units import units_from_mesh
from mien.faces.pose import pose_from_points
from mien.faces.quality import QualityLimits, assess
from mien.faces.sface import SFace
from mien.faces.yunet import YuNet
from mien.labels.circumplex import CIRCUMPLEX
from mien.methods.runner import ExpressionRunner
from mien.pipeline.clips import (
    CLIP_SUFFIXES,
    ClipFrame,
    Span,
    clip_info,
    is_animated,
    read_animation,
    read_clip,
)
from mien.pipeline.course import CourseBuilder, CourseObserver, Wish, held_back, live_in_time
from mien.pipeline.inputs import expand
from mien.pipeline.live import LiveSource, read_live
from mien.pipeline.pictures import PICTURE_BRANDS, check_array, read_picture
from mien.pipeline.tracking import Tracker
from mien.types.faces import Faces
from mien.types.media import Failure, FrameResult
from mien.weights.store import load_weights

Observer = Callable[[FrameResult, np.ndarray], None]
"""Called with each result and its upright RGB image, for overlays."""
Progress = Callable[[Path, float, float], None]
"""Called with the file, the seconds of it done and its length in seconds (0 for pictures)."""


class Analyzer:
    """Finds faces and reads their expressions; make one and use it for many files.

    Args:
        model: a shipped network by name, or a path to an ONNX file with a contract.
        mesh: read the mesh of each face too, and from it action units, evidence and disagreement. Needs the extra
            `mesh` and the file that `mien weights fetch face_landmarker` gets.
        identity: know people again in a clip after they were away, by a network that tells people apart, instead of by
            how the crop looks. Needs the extra `identity` and the file that `mien weights fetch sface` gets.
        min_face_px: the smallest face that is looked for, pixels of the picture; faces under half of it are
            not reported.
        detection_threshold: faces that the detector scores lower are not reported, 0 to 1.
        limits: beyond these a face is reported as not reliable.
        threads: threads of one inference; 0 for one a core.
        detect_every: of clips and live sources, search a whole frame only after so many, and around the last faces in
            between; see `mien.faces.following`. New faces may then come some frames late.
        batch_frames: frames of a clip that are searched together; of a live source one at a time.

    Raises:
        WeightsError, UnknownNameError: the model cannot be used, or a file was not fetched.
        MissingExtraError: what the mesh or the network for identity needs is not installed.
        OptionError: a number is out of range.
    """

    def __init__(
        self,
        model: str | Path = "expression",
        *,
        mesh: bool = False,
        identity: bool = False,
        min_face_px: float = 24.0,
        detection_threshold: float = 0.7,
        limits: QualityLimits | None = None,
        threads: int = 0,
        detect_every: int = 1,
        batch_frames: int = 8,
    ) -> None:
        if not 0 < detection_threshold < 1:
            raise OptionError(f"expected detection_threshold between 0 and 1, got {detection_threshold}")
        if not 8 <= min_face_px <= 4096:
            raise OptionError(f"expected min_face_px from 8 to 4096, got {min_face_px}")
        if detect_every < 1:
            raise OptionError(f"expected detect_every of 1 or more frames, got {detect_every}")
        if batch_frames < 1:
            raise OptionError(f"expected batch_frames >= 1, got {batch_frames}")
        if threads < 0:
            raise OptionError(f"expected threads >= 0, got {threads}")
        self.detector = YuNet(load_weights("yunet"), threads, detection_threshold, min_face_px)
        self.runner = ExpressionRunner(load_weights(model), threads)
        if self.runner.preprocess.frames is not None or self.runner.preprocess.of_mesh:
            frames = self.runner.preprocess.frames
            what = f"clips of {frames} frames" if frames else "blendshapes"
            raise WeightsError(
                f"expected a network for single pictures, got {self.runner.weights.name!r} for {what}. Measure it with "
                "`mien evaluate`."
            )
        self.mesh = FaceMesh(threads) if mesh else None
        self.identity = SFace(threads) if identity else None
        self.limits = limits or QualityLimits()
        self.detect_every = detect_every
        self.batch_frames = batch_frames

    def analyze_images(self, images: Sequence[Any]) -> list[Faces]:
        """The faces of each image; faces of all images go through the network together.

        Args:
            images: RGB uint8 arrays (H, W, 3), grey arrays (H, W) or Pillow images, of any sizes.

        Raises:
            ShapeError: something is none of these.
        """
        return [faces for faces, _ in self._read([check_array(image) for image in images])]

    def _read(
        self, pictures: list[np.ndarray], follower: Follower | None = None
    ) -> list[tuple[Faces, np.ndarray]]:
        """The faces of each picture with their aligned crops; of the next frames of a clip with its follower."""
        found = (follower or self.detector).detect(pictures)
        cropped = [
            self.runner.crop(image, faces.landmarks_xy_px)
            for image, faces in zip(pictures, found, strict=True)
        ]
        if not cropped:
            return []
        logits = self.runner.logits(np.concatenate([crops for crops, _ in cropped]))
        results, start = [], 0
        for image, faces, (crops, inside) in zip(pictures, found, cropped, strict=True):
            scores = self.runner.probabilities(logits[start : start + len(faces)])
            start += len(faces)
            pose = pose_from_points(faces.landmarks_xy_px)
            quality = assess(crops, inside, faces.box_xyxy_px, faces.detection_score, pose, self.limits)
            read = replace(
                faces,
                expression=scores,
                uncertain=self.runner.uncertain(scores),
                affect=derived_affect(scores) if set(scores.names) <= set(CIRCUMPLEX) else None,
                pose_ypr_rad=pose,
                quality=quality,
            )
            results.append((read if self.mesh is None else _with_mesh(read, self.mesh, image), crops))
        return results

    def analyze_image(self, image: Any) -> Faces:
        """The faces of one image; see `analyze_images`."""
        return self.analyze_images([image])[0]

    def stream(
        self,
        paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        every_s: float | None = None,
        start_s: float | None = None,
        end_s: float | None = None,
        smooth: bool = False,
        baseline: str | os.PathLike[str] | tuple[float, float] | None = None,
        without: Iterable[str | os.PathLike[str]] = (),
        observer: Observer | None = None,
        course: CourseObserver | None = None,
        progress: Progress | None = None,
    ) -> Iterator[FrameResult | Failure]:
        """Results one after the other, in the order of the files: one a picture, one a frame of a clip.

        Memory does not grow with the number of files or the length of a clip. A file that cannot be read
        gives a `Failure`, after the frames that could be, and the rest goes on. Faces of a clip have a `track_id`,
        which counts from 0 in each clip and depends on the frames so far alone.

        Args:
            paths: pictures, clips, folders and patterns; live sources (`camera:0`, `rtsp://...`, `http://...`), which go
                on until `end_s`, or until they vanish, which gives a `Failure`.
            every_s: of clips, one frame in so many seconds; `None` for every frame.
            start_s, end_s: of clips, only frames with start <= time < end, seconds in the clip's own presentation
                times; of a live source from its first frame on. Pictures have no time and are read anyway.
            smooth: fill `faces.in_time`. The results of a clip then come when it has been read (they wait in a temporary
                file); those of a live source at once, smoothed by what was before.
            baseline: values also relative to each person's face at rest, in `faces.in_time`: "auto" for the calmest
                fifth of a track, times (start, end) of the clip, or a picture or clip of the one person at
                rest. The last is all that pictures and live sources can have.
            without: folders of results, which a search of `paths` leaves out.
            observer: called with each result and its image, at once.
            course: called with the course of each clip: tracks, smoothed values, events.
            progress: called as a file goes on.

        Raises:
            OptionError: `every_s` is not positive, or start and end are no part of a clip; of a live source a course or
                a rest is asked for that only a whole clip has.
            DataError: no face at rest in the file of the baseline.
        """
        span = Span(start_s, end_s, every_s)
        wish = self._wish(baseline)
        observer, course = _own_errors(observer), _own_errors(course)
        in_time = smooth or wish is not None or course is not None
        if isinstance(paths, str | os.PathLike):
            paths = [paths]
        for path in expand(paths, without):
            if isinstance(path, Failure):
                yield path
                continue
            live = isinstance(path, LiveSource)
            results = _shown(self._results(path, span, progress), observer)
            if in_time and live:
                results = live_in_time(results, self._threshold, wish, course)
            elif in_time:
                results = held_back(results, CourseBuilder(self._threshold, wish), course)
            while True:
                try:
                    result = next(results)
                except StopIteration:
                    break
                except _ObserverError as failed:
                    raise failed.error from None
                except (InputError, OSError) as error:
                    yield Failure(str(path), _said(error), type(error).__name__)
                    break
                yield result

    @property
    def _threshold(self) -> float:
        return self.runner.weights.calibration["threshold"]

    def _wish(self, baseline: str | os.PathLike[str] | tuple[float, float] | None) -> Wish:
        """The baseline as a course wants it; the file of one is read."""
        if baseline is None or baseline == "auto" or isinstance(baseline, tuple):
            return baseline  # type: ignore[return-value]
        builder = CourseBuilder(self._threshold)
        for result in self.stream(os.fspath(baseline)):
            if isinstance(result, Failure):
                raise DataError(f"{result.error} ({result.path} was to be the baseline)")
            builder.add_largest(result)
        return builder.rest(os.fspath(baseline))

    def _results(
        self, path: Path | LiveSource, span: Span, progress: Progress | None
    ) -> Iterator[tuple[FrameResult, np.ndarray]]:
        """Results of one file or source with their images."""
        if isinstance(path, LiveSource):
            return self._live(path, span)
        return self._file(path, span, progress)

    def _file(
        self, path: Path, span: Span, progress: Progress | None
    ) -> Iterator[tuple[FrameResult, np.ndarray]]:
        """Results of one file with their images."""
        length_s = 0.0
        if path.suffix.lower() in CLIP_SUFFIXES - {".gif"} or _is_clip_by_content(path):
            length_s = clip_info(path).duration_s
            frames = read_clip(path, span)
        elif is_animated(path):
            gif = path.suffix.lower() == ".gif"
            length_s = clip_info(path).duration_s if gif else 0.0
            frames = read_clip(path, span) if gif else read_animation(path, span)
        else:
            image = read_picture(path)
            yield FrameResult(str(path), 0, None, self.analyze_image(image), _size_of(image)), image
            if progress is not None:
                progress(path, 0.0, 0.0)
            return
        yield from self._clip(path, frames, length_s, progress)

    def _clip(
        self, path: Path, frames: Iterator[ClipFrame], length_s: float, progress: Progress | None
    ) -> Iterator[tuple[FrameResult, np.ndarray]]:
        """Results of a clip, a few frames at a time. An error in decoding comes after the last good frame."""
        tracker, follower = self._tracker(), Follower(self.detector, self.detect_every)
        trouble: InputError | None = None
        while trouble is None:
            batch: list[ClipFrame] = []
            try:
                for frame in islice(frames, self.batch_frames):
                    batch.append(frame)
            except InputError as error:
                trouble = error
            if not batch and trouble is None:
                return
            yield from self._tracked(str(path), batch, tracker, follower)
            if progress is not None and batch:
                progress(path, batch[-1].time_s, length_s)
        raise trouble

    def _live(self, source: LiveSource, span: Span) -> Iterator[tuple[FrameResult, np.ndarray]]:
        """Results of a live source, one frame at a time, so that none waits for another."""
        tracker, follower = self._tracker(), Follower(self.detector, self.detect_every)
        for frame in read_live(source, span):
            yield from self._tracked(str(source), [frame], tracker, follower)

    def _tracker(self) -> Tracker:
        return Tracker(None if self.identity is None else self.identity.describe)

    def _tracked(
        self, path: str, frames: list[ClipFrame], tracker: Tracker, follower: Follower
    ) -> Iterator[tuple[FrameResult, np.ndarray]]:
        """Results of frames that follow one another, with the ids of their faces."""
        found = self._read([frame.image for frame in frames], follower)
        for frame, (faces, crops) in zip(frames, found, strict=True):
            ids = tracker.update(frame.image, faces, crops, frame.time_s)
            known = replace(faces, track_id=ids)
            size = _size_of(frame.image)
            yield FrameResult(path, frame.frame, frame.time_s, known, size, frame.dropped), frame.image


class _ObserverError(Exception):
    """An error of an observer, so that it is not taken for one of the file that is read."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _own_errors(call: Callable[..., None] | None) -> Callable[..., None] | None:
    """An observer whose errors are told apart."""

    def guarded(*seen: Any) -> None:
        assert call is not None
        try:
            call(*seen)
        except (InputError, OSError) as error:
            raise _ObserverError(error) from error

    return None if call is None else guarded


def _shown(
    results: Iterator[tuple[FrameResult, np.ndarray]], observer: Observer | None
) -> Iterator[FrameResult]:
    """The results alone, after the observer saw them with their images."""
    for result, image in results:
        if observer is not None:
            observer(result, image)
        yield result


def _size_of(image: np.ndarray) -> tuple[int, int]:
    """Width and height."""
    return image.shape[1], image.shape[0]


def _with_mesh(faces: Faces, reader: FaceMesh, image: np.ndarray) -> Faces:
    """The same faces with all that the mesh tells; its pose takes the place of the coarse one where it was read."""
    assert faces.expression is not None and faces.pose_ypr_rad is not None
    mesh = reader.read(image, faces.landmarks_xy_px)
    units = units_from_mesh(mesh)
    evidence = evidence_for(units)
    return replace(
        faces,
        mesh=mesh,
        action_units=units,
        evidence=evidence,
        disagreement=disagreement(evidence, faces.expression).astype(np.float32),
        pose_ypr_rad=np.where(mesh.told[:, None], mesh.pose_ypr_rad, faces.pose_ypr_rad),
    )


def _is_clip_by_content(path: Path) -> bool:
    """Whether a file with a picture's (or no) name is a clip: an MP4, Matroska or AVI by its first bytes."""
    with path.open("rb") as stored:
        head = stored.read(12)
    if head[4:8] == b"ftyp":
        return head[8:11] not in PICTURE_BRANDS
    return head[:4] == b"\x1aE\xdf\xa3" or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")


def _said(error: Exception) -> str:
    """The message of an error, with what to do where the system's own words do not say."""
    if isinstance(error, InputError):
        return str(error)
    return f"expected a readable file, got: {error.strerror if isinstance(error, OSError) else error}. Check its permissions."
