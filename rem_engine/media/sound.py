"""The sound of a shot, cut to its frames, on its way into a video."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet

SoundForm = Literal["aac", "pcm"]
"""How sound is stored: "aac", the first track for listening, in mono or stereo; "pcm", all tracks without loss."""

_HEAD_START = 1  # seconds before the first frame from which sound is decoded: codecs need some to get going
_WIDE = {"s32": "s32", "f32": "flt", "f64": "dbl"}
# Encoders and their formats: of what 24 bits do not hold, of what 16 do not, and of the rest.
_WIDE_FORMS = {f"pcm_{kind}{end}": (f"pcm_{kind}le", form) for kind, form in _WIDE.items() for end in ("le", "be")}
_DEEP_FORM, _SHALLOW_FORM = ("pcm_s24le", "s32"), ("pcm_s16le", "s16")


@dataclass(frozen=True)
class Sound:
    """The stretch of a file's sound that belongs to a shot.

    Attributes:
        path: of the file.
        tracks: numbers of its streams of sound, the one that players take first.
        start: when the shot's first frame is shown by the file's clock, seconds.
        duration: of the shot, seconds.
    """

    path: Path
    tracks: tuple[int, ...]
    start: Fraction
    duration: Fraction


def sound_tracks(container: InputContainer) -> tuple[int, ...]:
    """Numbers of the streams of sound that can be decoded, those flagged default first."""
    from av.stream import Disposition

    tracks = [
        stream
        for stream in container.streams.audio
        if stream.codec_context is not None and stream.codec_context.sample_rate and stream.codec_context.channels
    ]
    tracks.sort(key=lambda stream: not stream.disposition & Disposition.default)
    return tuple(stream.index for stream in tracks)


class SoundWriter:
    """Brings a shot's sound into a file as its pictures come.

    Its first sample belongs to the shot's first frame, and its last to the last, to a sample: what lies before and
    after is left out, and gaps are silent. A damaged stretch is a gap, and a track that cannot be brought into the form
    asked for is left out.
    """

    def __init__(self, container: OutputContainer, sound: Sound, form: SoundForm) -> None:
        """Args: the file that is written, before its first frame; what sound; how it is stored."""
        import av
        from av.stream import Discard

        self._input = av.open(sound.path.absolute(), metadata_errors="replace")
        numbers = sound.tracks[:1] if form == "aac" else sound.tracks
        self._tracks: dict[int, _Track] = {}
        for source in self._input.streams.audio:
            if source.index in numbers:
                with suppress(av.FFmpegError, ValueError):
                    self._tracks[source.index] = _Track(container, source, sound, form)
        for stream in self._input.streams:
            if stream.index not in self._tracks:
                stream.discard = Discard.all  # pictures are large
        read = [self._input.streams[index] for index in self._tracks]
        self._packets: Iterator[Packet] = self._input.demux(read) if read else iter(())
        self._start, self._end = sound.start, sound.start + sound.duration
        self._reached = sound.start - 2 * _HEAD_START

    def write_until(self, seconds: Fraction) -> None:
        """Write the sound of the shot's first seconds, as far as it is not written yet."""
        while self._reached < min(self._start + seconds, self._end):
            packet = next(self._packets, None)
            if packet is None:
                self._reached = self._end
                break
            if packet.pts is not None and packet.time_base is not None:
                self._reached = packet.pts * packet.time_base
            if self._reached >= self._start - _HEAD_START:
                self._tracks[packet.stream.index].take(packet)

    def close(self) -> None:
        """Write what is left of it."""
        self.write_until(self._end - self._start)
        for track in self._tracks.values():
            track.finish()
        self.abandon()

    def abandon(self) -> None:
        """Let go of the shot's file."""
        self._input.close()


class _Track:
    """One track: decoder, cut, encoder."""

    def __init__(self, container: OutputContainer, source: AudioStream, sound: Sound, form: SoundForm) -> None:
        import av

        self._container, self._source, self._start = container, source, sound.start
        codec = source.codec_context
        rate, layout = codec.sample_rate, codec.layout.name
        if form == "aac":
            rates = av.Codec("aac", "w").audio_rates or [rate]
            name, to_rate, to_format = "aac", rate if rate in rates else 48000, "fltp"
            to_layout = "mono" if codec.layout.nb_channels == 1 else "stereo"
        else:
            name, to_format = _WIDE_FORMS.get(codec.name, _DEEP_FORM if codec.format.bytes > 2 else _SHALLOW_FORM)
            to_rate, to_layout = rate, layout
        graph = av.filter.Graph()
        cut = f"start_pts=0:end_pts={round(sound.duration * rate)}"
        form_asked = f"sample_fmts={to_format}:sample_rates={to_rate}:channel_layouts={to_layout}"
        # Channels of no known place cannot be mixed: the first two are heard.
        unplaced = form == "aac" and layout.endswith("channels")
        graph.link_nodes(
            graph.add_abuffer(sample_rate=rate, format=codec.format.name, layout=layout, time_base=Fraction(1, rate)),
            graph.add("atrim", cut),
            graph.add("aresample", "async=1:first_pts=0"),
            *([graph.add("pan", "stereo|c0=c0|c1=c1")] if unplaced else []),
            graph.add("aformat", form_asked),
            graph.add("abuffersink"),
        ).configure()
        self._rate, self._graph, self._next = rate, graph, 0
        self._stream: Any = container.add_stream(name, rate=to_rate, layout=to_layout, format=to_format)

    def take(self, packet: Packet) -> None:
        """The next packet of it."""
        from av import FFmpegError

        with suppress(FFmpegError):  # codecs tell damage in many ways
            for frame in self._source.decode(packet):
                self._put(frame)
        self._pass_on()

    def finish(self) -> None:
        """All that there is has been taken."""
        self._graph.push(None)
        self._pass_on()
        self._container.mux(self._stream.encode(None))

    def _put(self, frame: AudioFrame) -> None:
        if frame.pts is not None and frame.time_base is not None:
            self._next = round((frame.pts * frame.time_base - self._start) * self._rate)
        frame.pts, frame.time_base = self._next, Fraction(1, self._rate)
        self._next += frame.samples
        self._graph.push(frame)

    def _pass_on(self) -> None:
        from av.error import BlockingIOError as NothingYet
        from av.error import EOFError as AtAnEnd

        with suppress(NothingYet, AtAnEnd):
            while True:
                self._container.mux(self._stream.encode(self._graph.pull()))
