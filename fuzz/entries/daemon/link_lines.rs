//! The stream of updates: any bytes, cut in any way.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use serde_json::Value;

use crate::link::lines::{Line, Lines, LinesEnd};

/// The lines are those between the line ends, however the bytes arrive; and what is handed on of one is a
/// part of it, byte for byte, that another JSON parser finds there too.
pub fn run(data: &[u8]) {
    let Some((&step, data)) = data.split_first() else { return };
    let whole = lines(vec![data]);
    let cut = lines(data.chunks(usize::from(step).max(1)).collect());
    assert_eq!(whole, cut);
    // What stands after the last line end is no line yet.
    let mut expected: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    expected.pop();
    assert_eq!(whole.len(), expected.len());
    for (line, bytes) in whole.iter().zip(expected) {
        check(line.as_ref(), bytes);
    }
}

fn check(line: Option<&Line>, bytes: &[u8]) {
    let json: Option<Value> = serde_json::from_slice(bytes).ok();
    let member = |name: &str| json.as_ref().and_then(|json| json.get(name)).filter(|value| !value.is_null());
    let is_part = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    match line {
        None => {}
        Some(Line::Empty) => assert!(bytes.trim_ascii().is_empty()),
        Some(Line::Unknown) => assert!(member("trust").is_none() && member("update").is_none()),
        Some(Line::Trust(text)) => assert!(is_part(text) && member("update").is_none()),
        Some(Line::Update(text)) => assert!(is_part(text) && member("trust").is_none()),
    }
}

/// Every line; `None` for one that is refused.
fn lines(chunks: Vec<&[u8]>) -> Vec<Option<Line>> {
    let body = Chunks(chunks.into_iter().map(Bytes::copy_from_slice).collect());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let (mut lines, mut read) = (Lines::new(body, Default::default()), Vec::new());
        loop {
            match lines.next().await {
                Ok(line) => read.push(Some(line)),
                Err(LinesEnd::Malformed) => read.push(None),
                Err(LinesEnd::Ended) => return read,
                Err(other) => panic!("nothing else can happen to these bytes: {other}"),
            }
        }
    })
}

struct Chunks(VecDeque<Bytes>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|chunk| Ok(Frame::data(chunk))))
    }
}
