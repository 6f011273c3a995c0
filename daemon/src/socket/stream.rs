//! The stream under a connection: notes when an answer is written, writes head and body of an answer in
//! one piece and no more than is due at once, and lets a line of a request end in one way only.

use std::cell::RefCell;
use std::hint::black_box;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use zeroize::Zeroizing;

use super::vigil::Pace;

/// A client's stream.
pub(crate) struct PacedStream<S> {
    stream: S,
    pace: Arc<Pace>,
    lines: LineEnds,
}

/// What a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineEnds {
    /// Heads and bodies, which hold any bytes.
    Any,
    /// Heads only, so that every line ends in CR LF. A lone LF may be taken for a line's end or not (RFC
    /// 9112, section 2.2), and two readers who differ in that read two different requests.
    CrLf {
        /// The byte before the next one.
        last: u8,
    },
}

impl<S> PacedStream<S> {
    pub(crate) fn new(stream: S, pace: Arc<Pace>, lines: LineEnds) -> Self {
        Self { stream, pace, lines }
    }

    fn count(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.pace.count_written(*bytes);
        }
    }
}

impl LineEnds {
    /// The ends of the lines of a client that sends heads only.
    pub(crate) const STRICT: Self = Self::CrLf { last: 0 };

    /// Puts a NUL, which no head can hold, in the place of an LF that ends a line alone: so the request
    /// gets the answer that a malformed one gets.
    fn spoil_lone(&mut self, received: &mut [u8]) {
        let Self::CrLf { last } = self else { return };
        for byte in received {
            let before = std::mem::replace(last, *byte);
            if *byte == b'\n' && before != b'\r' {
                *byte = 0;
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PacedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.pace.note_read(buffer.filled().len() > filled);
        self.lines.spoil_lone(buffer.filled_mut().get_mut(filled..).unwrap_or_default());
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PacedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let room = ready!(self.pace.poll_room(context));
        let bytes = bytes.get(..room).unwrap_or(bytes);
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.count(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let room = ready!(self.pace.poll_room(context));
        let length = slices.iter().fold(0_usize, |sum, slice| sum.saturating_add(slice.len()));
        let written = if length <= GATHERED.min(room) && slices.len() > 1 {
            GATHER.with_borrow_mut(|gather| {
                gather.clear();
                slices.iter().for_each(|slice| gather.extend_from_slice(slice));
                let written = Pin::new(&mut self.stream).poll_write(context, gather);
                gather.fill(0);
                black_box(gather.as_slice());
                written
            })
        } else {
            let fitting = within(slices, room);
            Pin::new(&mut self.stream).poll_write_vectored(context, &fitting)
        };
        self.count(&written);
        written
    }

    /// Has hyper hand over bodies as they are, rather than copy them into a buffer of its own, which
    /// would hold them as long as the connection is open.
    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper flushes when its own buffers are written out.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() {
            self.pace.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The first `room` bytes of what is to be written.
fn within<'a>(slices: &'a [IoSlice<'_>], mut room: usize) -> Vec<IoSlice<'a>> {
    let cut = slices.iter().map(|slice| {
        let fitting = slice.get(..room).unwrap_or(slice);
        room = room.saturating_sub(fitting.len());
        IoSlice::new(fitting)
    });
    cut.filter(|slice| !slice.is_empty()).collect()
}

thread_local! {
    /// Where a head and its body are put together. One for all connections of the thread, of a fixed
    /// size, and wiped once they are written.
    static GATHER: RefCell<Zeroizing<Vec<u8>>> = RefCell::new(Zeroizing::new(Vec::with_capacity(GATHERED)));
}

/// Up to here, copying costs less than having the kernel gather.
const GATHERED: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn what_is_written_in_pieces_arrives_whole() {
        for size in [0, 100, GATHERED, 3 * GATHERED] {
            let (near, mut far) = duplex(1_000);
            let mut stream = PacedStream::new(near, Arc::default(), LineEnds::Any);
            let (head, body) = (vec![1; 50], vec![2; size]);
            let sent = async {
                let mut left: &[u8] = &[head.clone(), body.clone()].concat();
                while !left.is_empty() {
                    let middle = left.len().min(50);
                    let slices = [IoSlice::new(&left[..middle]), IoSlice::new(&left[middle..])];
                    left = &left[stream.write_vectored(&slices).await.unwrap()..];
                }
                drop(stream);
            };
            let mut received = Vec::new();
            let ((), read) = tokio::join!(sent, far.read_to_end(&mut received));
            read.unwrap();
            assert_eq!(received, [head.clone(), body.clone()].concat());
        }
    }
}
