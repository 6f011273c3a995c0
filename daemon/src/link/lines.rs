//! The stream of updates cut into lines, each within a size and a time. What is in a line is looked at
//! no closer than to see which door it goes to.

use std::error::Error;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body;
use miosa_snapshot::MAX_ENVELOPE_BYTES;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout, timeout_at};

use crate::settings::LinkPatience;

/// The lines of a stream.
pub(crate) struct Lines<B> {
    body: B,
    buffer: BytesMut,
    /// Everything before this is known to hold no line end.
    searched: usize,
    patience: LinkPatience,
}

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A trust document, byte for byte.
    Trust(String),
    /// An update, byte for byte.
    Update(String),
    /// A sign of life.
    Empty,
    /// Something that a later version may know.
    Unknown,
}

/// Why there are no more lines.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinesEnd {
    #[error("the control plane ended the stream")]
    Ended,
    #[error("the stream broke off")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
    #[error("the control plane was silent for {} s; is something in between that stalls?", .0.as_secs())]
    Silent(Duration),
    #[error("a line of the stream took longer than {} s; is something in between that is slow?", .0.as_secs())]
    Slow(Duration),
    #[error("a line of the stream is longer than {MAX_LINE_BYTES} bytes")]
    Long,
    #[error(
        "a line of the stream is not what a control plane sends; is something else at its address, or in between?"
    )]
    Malformed,
}

impl<B> Lines<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub(crate) fn new(body: B, patience: LinkPatience) -> Self {
        Self { body, buffer: BytesMut::new(), searched: 0, patience }
    }

    /// The next line.
    pub(crate) async fn next(&mut self) -> Result<Line, LinesEnd> {
        let mut deadline = None;
        loop {
            if let Some(line) = self.take_line() {
                return Line::read(&line);
            }
            if self.buffer.len() > MAX_LINE_BYTES {
                return Err(LinesEnd::Long);
            }
            if !self.buffer.is_empty() && deadline.is_none() {
                deadline = after(self.patience.line);
            }
            self.receive(deadline).await?;
        }
    }

    async fn receive(&mut self, deadline: Option<Instant>) -> Result<(), LinesEnd> {
        let LinkPatience { silence, line, .. } = self.patience;
        let frame = timeout(silence, self.body.frame());
        let frame = match deadline {
            Some(deadline) => timeout_at(deadline, frame).await.map_err(|_late| LinesEnd::Slow(line))?,
            None => frame.await,
        };
        match frame.map_err(|_late| LinesEnd::Silent(silence))? {
            None => Err(LinesEnd::Ended),
            Some(Err(error)) => Err(LinesEnd::Broken(error.into())),
            Some(Ok(frame)) => {
                let data = frame.into_data().unwrap_or_default();
                self.make_room(data.len());
                self.buffer.extend_from_slice(&data);
                Ok(())
            }
        }
    }

    /// A long line gets the room of the longest at once: growing by doubling would take twice that.
    fn make_room(&mut self, more: usize) {
        let length = self.buffer.len().saturating_add(more);
        if length > DOUBLED && length > self.buffer.capacity() {
            self.buffer.reserve(MAX_LINE_BYTES.saturating_sub(self.buffer.len()).saturating_add(more));
        }
    }

    fn take_line(&mut self) -> Option<BytesMut> {
        let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
        let Some(found) = unsearched.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let end = self.searched.saturating_add(found);
        let mut line = self.buffer.split_to(end.saturating_add(1));
        line.truncate(end);
        self.searched = 0;
        Some(line)
    }
}

impl Line {
    fn read(line: &[u8]) -> Result<Self, LinesEnd> {
        #[derive(Deserialize)]
        struct Wire<'a> {
            #[serde(borrow)]
            trust: Option<&'a RawValue>,
            #[serde(borrow)]
            update: Option<&'a RawValue>,
        }
        if line.trim_ascii().is_empty() {
            return Ok(Self::Empty);
        }
        let wire: Wire<'_> = serde_json::from_slice(line).ok().ok_or(LinesEnd::Malformed)?;
        match (wire.trust, wire.update) {
            (Some(trust), None) => Ok(Self::Trust(trust.get().to_owned())),
            (None, Some(update)) => Ok(Self::Update(update.get().to_owned())),
            (None, None) => Ok(Self::Unknown),
            (Some(_), Some(_)) => Err(LinesEnd::Malformed),
        }
    }
}

fn after(duration: Duration) -> Option<Instant> {
    Instant::now().checked_add(duration)
}

/// The largest envelope and what is around it.
const MAX_LINE_BYTES: usize = MAX_ENVELOPE_BYTES.saturating_add(64);

/// Up to here, room for a line is doubled as it comes.
const DOUBLED: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::Frame;
    use tokio::time::{Sleep, sleep};

    use super::*;

    /// A stream that sends the same bytes again and again, each time after a pause, and then no more.
    struct Trickle {
        bytes: &'static [u8],
        times: usize,
        pause: Duration,
        pausing: Pin<Box<Sleep>>,
    }

    impl Body for Trickle {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.times == 0 || self.pausing.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.times = self.times.saturating_sub(1);
            self.pausing = Box::pin(sleep(self.pause));
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(self.bytes)))))
        }
    }

    fn trickle(bytes: &'static [u8], times: usize, seconds: u64) -> Lines<Trickle> {
        let pause = Duration::from_secs(seconds);
        let trickle = Trickle { bytes, times, pause, pausing: Box::pin(sleep(pause)) };
        Lines::new(trickle, LinkPatience::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_control_plane_that_is_silent_is_left() {
        let began = Instant::now();
        let mut lines = trickle(b"\n", 4, 15);
        for _ in 0..4 {
            assert_eq!(lines.next().await.unwrap(), Line::Empty);
        }
        assert!(matches!(lines.next().await, Err(LinesEnd::Silent(_))));
        assert_eq!(began.elapsed().as_secs(), 4 * 15 + 45);
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_never_ends_is_not_waited_for() {
        let began = Instant::now();
        assert!(matches!(trickle(b"x", 1_000_000, 10).next().await, Err(LinesEnd::Slow(_))));
        assert_eq!(began.elapsed().as_secs(), 10 + 180);
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_is_too_long_is_not_kept() {
        static CHUNK: [u8; 1024 * 1024] = [b'x'; 1024 * 1024];
        assert!(matches!(trickle(&CHUNK, 1_000, 1).next().await, Err(LinesEnd::Long)));
    }

    #[tokio::test(start_paused = true)]
    async fn lines_are_found_wherever_the_stream_is_cut() {
        let mut lines = trickle(b"{\"a\":1}\n\n{\"update\":{}", 2, 1);
        assert_eq!(lines.next().await.unwrap(), Line::Unknown);
        assert_eq!(lines.next().await.unwrap(), Line::Empty);
        assert!(matches!(lines.next().await, Err(LinesEnd::Malformed)));
        assert_eq!(lines.next().await.unwrap(), Line::Empty);
    }

    #[test]
    fn lines_are_told_apart_and_their_bytes_kept() {
        let read = |line: &str| Line::read(line.as_bytes()).unwrap();
        assert_eq!(read(""), Line::Empty);
        assert_eq!(read("\r"), Line::Empty);
        let verbatim = r#"{"b":1, "a" : 1.0e0,"b":2}"#;
        assert_eq!(read(&format!(r#"{{"update":{verbatim}}}"#)), Line::Update(verbatim.to_owned()));
        assert_eq!(read(&format!(r#"{{ "trust" : {verbatim} }}"#)), Line::Trust(verbatim.to_owned()));
        assert_eq!(read(r#"{"notice":"x"}"#), Line::Unknown);
    }

    #[test]
    fn what_is_no_line_is_refused() {
        for bad in
            ["null", "[]", "{", r#"{"trust":{},"update":{}}"#, r#"{"update":1,"update":2}"#, "\u{feff}{}"]
        {
            assert!(matches!(Line::read(bad.as_bytes()), Err(LinesEnd::Malformed)), "{bad}");
        }
    }
}
