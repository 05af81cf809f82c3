//! The byte stream that Messenger runs on. It knows where frames begin and end, and so does what
//! Messenger cannot.
//!
//! - Messenger writes a frame's four length bytes apart from the frame. Here they wait for the frame
//!   and leave with it, in one vectored write.
//! - Messenger reads four bytes, then the frame: two system calls for the smallest response. Here short
//!   reads come from a buffer; large ones still go straight to Messenger's memory.
//! - A response longer than the limit, shorter than its header, or out of order ends the connection
//!   before Messenger allocates anything for it. (A broker answers a connection in the order asked.)
//! - It notes which requests were begun and which were written whole, so that a failed request can say
//!   whether the broker may have seen it, and since when the oldest one waits for its answer.
//! - It can be closed from outside, with a reason, which Messenger then gives to all who wait.
//! - A request that gets no answer (Produce with `acks=0`) is answered here: see
//!   [`Monitor::expect_no_answer`].

use std::collections::{HashSet, VecDeque};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::connector::Stream;
use crate::error::ErrorKind;

/// Room for short responses. Longer ones bypass it.
const READ_BUFFER_BYTES: usize = 8 * 1024;

/// The least a request has before its body: key, version, correlation id.
const REQUEST_HEAD_BYTES: usize = 8;

/// See the module's documentation.
pub(crate) struct Transport {
    stream: Box<dyn Stream>,
    monitor: Arc<Monitor>,
    outbound: Outbound,
    inbound: Inbound,
    buffer: Box<[u8]>,
    /// What of `buffer` was read from the stream and not yet handed on.
    buffered: std::ops::Range<usize>,
}

/// What happened on a transport, shared with the connection that owns it.
pub(crate) struct Monitor {
    receive_bytes_max: usize,
    /// How long an answer may take until the broker counts as silent; none where answers wait for
    /// other clients.
    answer_timeout: Option<Duration>,
    is_closed: AtomicBool,
    state: Mutex<State>,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

#[derive(Default)]
struct State {
    closed: Option<CloseReason>,
    /// The last request of which bytes may have left.
    begun: Option<i32>,
    /// The last request that left whole.
    written: Option<i32>,
    /// Requests begun and not answered, oldest first.
    unanswered: VecDeque<(i32, Instant)>,
    /// Requests that will get no answer from the broker.
    answered_here: HashSet<i32>,
    /// Those of them that were written and can be answered now.
    answers_due: VecDeque<i32>,
}

/// Why a transport ended.
#[derive(Debug, Clone)]
pub(crate) struct CloseReason {
    pub(crate) kind: ErrorKind,
    pub(crate) message: Arc<str>,
}

/// How far a request got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// No byte of it left.
    NotBegun,
    /// Some bytes of it may have left.
    Begun,
    /// All of it was handed to the network.
    Written,
}

impl Monitor {
    pub(crate) fn new(receive_bytes_max: usize, answer_timeout: Option<Duration>) -> Arc<Self> {
        Arc::new(Self {
            receive_bytes_max,
            answer_timeout,
            is_closed: AtomicBool::new(false),
            state: Mutex::new(State::default()),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
        })
    }

    /// Ends the transport. The first reason stays.
    pub(crate) fn close(&self, kind: ErrorKind, message: impl Into<Arc<str>>) {
        {
            let mut state = self.state.lock();
            if state.closed.is_some() {
                return;
            }
            state.closed = Some(CloseReason {
                kind,
                message: message.into(),
            });
        }
        self.is_closed.store(true, Ordering::Release);
        self.reader.wake();
        self.writer.wake();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    pub(crate) fn close_reason(&self) -> Option<CloseReason> {
        self.state.lock().closed.clone()
    }

    /// Whether the oldest unanswered request has waited longer than an answer may take.
    pub(crate) fn is_silent(&self, now: Instant) -> bool {
        let Some(timeout) = self.answer_timeout else {
            return false;
        };
        let state = self.state.lock();
        state
            .unanswered
            .front()
            .is_some_and(|(_, begun)| now.duration_since(*begun) >= timeout)
    }

    /// How far a request got. Correlation ids rise in the order in which requests are written, and
    /// wrap around.
    pub(crate) fn progress(&self, correlation_id: i32) -> Progress {
        let reached =
            |last: Option<i32>| last.is_some_and(|last| last.wrapping_sub(correlation_id) >= 0);
        let state = self.state.lock();
        if reached(state.written) {
            Progress::Written
        } else if reached(state.begun) {
            Progress::Begun
        } else {
            Progress::NotBegun
        }
    }

    /// Answers this request with an empty body as soon as it is written: the broker will not answer
    /// it, and Messenger knows no request without an answer. Must be said before it is written.
    pub(crate) fn expect_no_answer(&self, correlation_id: i32) {
        self.state.lock().answered_here.insert(correlation_id);
    }

    fn begin(&self, correlation_id: i32) {
        let mut state = self.state.lock();
        state.begun = Some(correlation_id);
        if !state.answered_here.contains(&correlation_id) {
            state.unanswered.push_back((correlation_id, Instant::now()));
        }
    }

    fn finish(&self, correlation_id: i32) {
        let mut state = self.state.lock();
        state.written = Some(correlation_id);
        if state.answered_here.remove(&correlation_id) {
            state.answers_due.push_back(correlation_id);
            drop(state);
            self.reader.wake();
        }
    }

    fn answer_due(&self) -> Option<i32> {
        self.state.lock().answers_due.pop_front()
    }

    /// Takes note of a response; it must be the one to the oldest unanswered request.
    fn answered(&self, correlation_id: i32) -> Result<(), String> {
        let mut state = self.state.lock();
        match state.unanswered.pop_front() {
            Some((expected, _)) if expected == correlation_id => Ok(()),
            Some((expected, _)) => Err(format!(
                "a response carries correlation id {correlation_id}, expected was {expected}"
            )),
            None => Err(format!(
                "a response carries correlation id {correlation_id}, but nothing was asked"
            )),
        }
    }

    fn closed_error(&self) -> io::Error {
        let message = match self.close_reason() {
            Some(reason) => reason.message,
            None => Arc::from("the connection is closed"),
        };
        io::Error::new(io::ErrorKind::ConnectionAborted, message.to_string())
    }

    /// Closes because the stream failed, and hands the error on.
    fn failed(&self, error: io::Error) -> io::Error {
        self.close(ErrorKind::Disconnected, error.to_string());
        error
    }

    /// Closes because the broker broke the protocol.
    fn violated(&self, message: String) -> io::Error {
        self.close(ErrorKind::Protocol, message.clone());
        io::Error::new(io::ErrorKind::InvalidData, message)
    }
}

impl Transport {
    pub(crate) fn new(stream: Box<dyn Stream>, monitor: Arc<Monitor>) -> Self {
        Self {
            stream,
            monitor,
            outbound: Outbound::default(),
            inbound: Inbound::Head([0; 4], 0),
            buffer: vec![0; READ_BUFFER_BYTES].into_boxed_slice(),
            buffered: 0..0,
        }
    }

    /// Hands on what is buffered, as much as fits, after looking at it.
    fn serve(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        let take = self.buffered.len().min(buf.remaining());
        let served = &self.buffer[self.buffered.start..self.buffered.start + take];
        self.inbound.follow(served, &self.monitor)?;
        buf.put_slice(served);
        self.buffered.start += take;
        Ok(())
    }

    fn end_of_stream(&self) {
        self.monitor
            .close(ErrorKind::Disconnected, "the broker closed the connection");
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.monitor.reader.register(cx.waker());
        if this.monitor.is_closed() {
            return Poll::Ready(Err(this.monitor.closed_error()));
        }
        // An answer of our own may stand only where a frame ends.
        if this.inbound.at_boundary()
            && let Some(correlation_id) = this.monitor.answer_due()
        {
            // Messenger asks for exactly four bytes here, the length; the rest waits in `inbound`.
            this.inbound = Inbound::own_answer(correlation_id);
        }
        if let Inbound::OwnAnswer(bytes, sent) = &mut this.inbound {
            let take = (bytes.len() - *sent).min(buf.remaining());
            buf.put_slice(&bytes[*sent..*sent + take]);
            *sent += take;
            if *sent == bytes.len() {
                this.inbound = Inbound::Head([0; 4], 0);
            }
            return Poll::Ready(Ok(()));
        }
        if this.buffered.is_empty() {
            if buf.remaining() >= this.buffer.len() {
                let before = buf.filled().len();
                let read = ready!(Pin::new(&mut this.stream).poll_read(cx, buf));
                read.map_err(|error| this.monitor.failed(error))?;
                let fresh = &buf.filled()[before..];
                if fresh.is_empty() {
                    this.end_of_stream();
                }
                return Poll::Ready(this.inbound.follow(fresh, &this.monitor));
            }
            let mut fresh = ReadBuf::new(&mut this.buffer);
            let read = ready!(Pin::new(&mut this.stream).poll_read(cx, &mut fresh));
            read.map_err(|error| this.monitor.failed(error))?;
            this.buffered = 0..fresh.filled().len();
            if this.buffered.is_empty() {
                this.end_of_stream();
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Ready(this.serve(buf))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.monitor.writer.register(cx.waker());
        if this.monitor.is_closed() {
            return Poll::Ready(Err(this.monitor.closed_error()));
        }
        let outbound = &mut this.outbound;
        if outbound.head_len < outbound.head.len() {
            return Poll::Ready(Ok(outbound.take_length(buf)));
        }
        if outbound.correlation_id.is_none() {
            let Some(correlation_id) = correlation_id_of_request(buf) else {
                let message = "a request was not written in one piece";
                this.monitor.close(ErrorKind::Internal, message);
                return Poll::Ready(Err(io::Error::other(message)));
            };
            outbound.correlation_id = Some(correlation_id);
            this.monitor.begin(correlation_id);
        }
        let body = &buf[..buf.len().min(outbound.body_left)];
        loop {
            let head = &outbound.head[outbound.head_sent..];
            let slices = [IoSlice::new(head), IoSlice::new(body)];
            let from = usize::from(head.is_empty());
            let stream = Pin::new(&mut this.stream);
            let sent = ready!(stream.poll_write_vectored(cx, &slices[from..]));
            let sent = sent.map_err(|error| this.monitor.failed(error))?;
            if sent == 0 {
                return Poll::Ready(Err(this.monitor.failed(io::ErrorKind::WriteZero.into())));
            }
            let of_head = sent.min(head.len());
            outbound.head_sent += of_head;
            let of_body = sent - of_head;
            if of_body == 0 {
                continue;
            }
            outbound.body_left -= of_body;
            if outbound.body_left == 0 {
                if let Some(correlation_id) = outbound.correlation_id {
                    this.monitor.finish(correlation_id);
                }
                *outbound = Outbound::default();
            }
            return Poll::Ready(Ok(of_body));
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.monitor.writer.register(cx.waker());
        if this.monitor.is_closed() {
            return Poll::Ready(Err(this.monitor.closed_error()));
        }
        Pin::new(&mut this.stream)
            .poll_flush(cx)
            .map_err(|error| this.monitor.failed(error))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// A frame on its way out: the length that waits for it, and what is left of it.
#[derive(Default)]
struct Outbound {
    head: [u8; 4],
    head_len: usize,
    head_sent: usize,
    body_left: usize,
    correlation_id: Option<i32>,
}

impl Outbound {
    /// Keeps length bytes back until the frame comes.
    fn take_length(&mut self, buf: &[u8]) -> usize {
        let take = buf.len().min(self.head.len() - self.head_len);
        self.head[self.head_len..self.head_len + take].copy_from_slice(&buf[..take]);
        self.head_len += take;
        if self.head_len == self.head.len() {
            self.body_left = u32::from_be_bytes(self.head) as usize;
        }
        take
    }
}

/// The correlation id of a request, from its first bytes: key, version, correlation id.
fn correlation_id_of_request(request: &[u8]) -> Option<i32> {
    let head = request.get(..REQUEST_HEAD_BYTES)?;
    Some(i32::from_be_bytes(head[4..].try_into().ok()?))
}

/// A frame on its way in.
enum Inbound {
    /// So many bytes of the length were seen.
    Head([u8; 4], usize),
    /// So many bytes of the correlation id were seen; so many bytes of the frame are to come after it.
    Id([u8; 4], usize, usize),
    /// So many bytes of the frame are to come.
    Body(usize),
    /// An answer made here, and how much of it was handed on.
    OwnAnswer([u8; 8], usize),
}

impl Inbound {
    fn at_boundary(&self) -> bool {
        matches!(self, Self::Head(_, 0))
    }

    /// A frame of four bytes, the correlation id alone.
    fn own_answer(correlation_id: i32) -> Self {
        let mut bytes = [0, 0, 0, 4, 0, 0, 0, 0];
        bytes[4..].copy_from_slice(&correlation_id.to_be_bytes());
        Self::OwnAnswer(bytes, 0)
    }

    /// Follows the frames through bytes from the broker.
    fn follow(&mut self, mut bytes: &[u8], monitor: &Monitor) -> io::Result<()> {
        while !bytes.is_empty() {
            match self {
                Self::Head(head, seen) => {
                    fill(head, seen, &mut bytes);
                    if *seen == head.len() {
                        let len = i32::from_be_bytes(*head);
                        let limit = monitor.receive_bytes_max;
                        let rest = usize::try_from(len).ok().filter(|len| *len <= limit);
                        let Some(rest) = rest.and_then(|len| len.checked_sub(4)) else {
                            return Err(monitor.violated(format!(
                                "a response claims {len} bytes; 4 to {limit} are allowed"
                            )));
                        };
                        *self = Self::Id([0; 4], 0, rest);
                    }
                }
                Self::Id(id, seen, rest) => {
                    fill(id, seen, &mut bytes);
                    if *seen == id.len() {
                        monitor
                            .answered(i32::from_be_bytes(*id))
                            .map_err(|message| monitor.violated(message))?;
                        *self = Self::body(*rest);
                    }
                }
                Self::Body(rest) => {
                    let take = bytes.len().min(*rest);
                    bytes = &bytes[take..];
                    *self = Self::body(*rest - take);
                }
                Self::OwnAnswer(..) => {
                    // Bytes from the broker are not read while an answer of our own is handed on.
                    return Err(io::Error::other("a response came in the middle of another"));
                }
            }
        }
        Ok(())
    }

    fn body(rest: usize) -> Self {
        if rest == 0 {
            Self::Head([0; 4], 0)
        } else {
            Self::Body(rest)
        }
    }
}

/// Moves bytes to where they are missing.
fn fill(into: &mut [u8; 4], seen: &mut usize, bytes: &mut &[u8]) {
    let take = bytes.len().min(into.len() - *seen);
    into[*seen..*seen + take].copy_from_slice(&bytes[..take]);
    *seen += take;
    *bytes = &bytes[take..];
}

#[cfg(test)]
mod tests;
