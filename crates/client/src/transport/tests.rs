//! What the transport does to the bytes, seen from a stream that counts writes.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// A stream that notes each write and takes at most so many bytes at a time.
struct Writes {
    taken: Taken,
    at_most: usize,
}

impl AsyncRead for Writes {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        _buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Writes {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = buf.len().min(self.at_most);
        self.taken.lock().push(buf[..taken].to_vec());
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.to_vec()).collect();
        self.poll_write(cx, &all)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A request: key, version, correlation id, and so many more bytes.
fn request(correlation_id: i32, more: usize) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    bytes.put_i16(9);
    bytes.put_i32(correlation_id);
    bytes.put_bytes(7, more);
    bytes.freeze()
}

/// Writes as Messenger does: the length, then the frame.
async fn send(transport: &mut Transport, frame: &[u8]) {
    let length = u32::try_from(frame.len()).unwrap();
    transport.write_all(&length.to_be_bytes()).await.unwrap();
    transport.write_all(frame).await.unwrap();
    transport.flush().await.unwrap();
}

/// What was written, write by write.
type Taken = Arc<Mutex<Vec<Vec<u8>>>>;

fn over_writes(at_most: usize) -> (Transport, Arc<Monitor>, Taken) {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let monitor = Monitor::new(1 << 20, None);
    let stream = Writes {
        taken: Arc::clone(&taken),
        at_most,
    };
    let transport = Transport::new(Box::new(stream), Arc::clone(&monitor));
    (transport, monitor, taken)
}

#[tokio::test]
async fn frame_and_length_leave_in_one_write() {
    let (mut transport, monitor, taken) = over_writes(usize::MAX);
    for id in 0..3 {
        send(&mut transport, &request(id, 20_000)).await;
        assert_eq!(monitor.progress(id), Progress::Written);
    }
    let taken = taken.lock();
    assert_eq!(taken.len(), 3);
    for write in taken.iter() {
        assert_eq!(write.len(), 4 + 8 + 20_000);
    }
}

#[tokio::test]
async fn short_writes_lose_nothing() {
    for at_most in 1..20 {
        let (mut transport, monitor, taken) = over_writes(at_most);
        let mut expected = Vec::new();
        for id in 0..5 {
            let frame = request(id, usize::try_from(id).unwrap() * 3);
            expected.extend_from_slice(&u32::try_from(frame.len()).unwrap().to_be_bytes());
            expected.extend_from_slice(&frame);
            send(&mut transport, &frame).await;
            assert_eq!(monitor.progress(id), Progress::Written);
            assert_eq!(monitor.progress(id + 1), Progress::NotBegun);
        }
        assert_eq!(taken.lock().concat(), expected, "{at_most} bytes at a time");
    }
}

#[tokio::test]
async fn answers_are_followed_however_they_are_cut() {
    for piece in 1..30 {
        let (near, mut far) = tokio::io::duplex(piece);
        let monitor = Monitor::new(1 << 20, None);
        let mut transport = Transport::new(Box::new(near), Arc::clone(&monitor));
        let mut answers = BytesMut::new();
        for id in 0..4 {
            monitor.begin(id);
            answers.put_u32(4 + u32::try_from(id).unwrap() * 5);
            answers.put_i32(id);
            answers.put_bytes(9, usize::try_from(id).unwrap() * 5);
        }
        let answers = answers.freeze();
        let write = far.write_all(&answers);
        let read = async {
            for id in 0..4_usize {
                assert_eq!(transport.read_u32().await.unwrap() as usize, 4 + id * 5);
                let mut frame = vec![0; 4 + id * 5];
                transport.read_exact(&mut frame).await.unwrap();
                assert_eq!(frame[..4], u32::try_from(id).unwrap().to_be_bytes());
                assert!(frame[4..].iter().all(|byte| *byte == 9));
            }
        };
        let (written, ()) = tokio::join!(write, read);
        written.unwrap();
        assert!(monitor.state.lock().unanswered.is_empty());
    }
}

#[tokio::test]
async fn closing_ends_reads_and_writes_that_wait() {
    let (near, _far) = tokio::io::duplex(16);
    let monitor = Monitor::new(1 << 20, None);
    let transport = Transport::new(Box::new(near), Arc::clone(&monitor));
    let (mut reader, mut writer) = tokio::io::split(transport);
    let frame = request(1, 1000);
    let write = async {
        writer.write_all(&1008_u32.to_be_bytes()).await.unwrap();
        writer.write_all(&frame).await.unwrap_err().to_string()
    };
    let read = async { reader.read_u32().await.unwrap_err().to_string() };
    let close = async {
        tokio::task::yield_now().await;
        monitor.close(ErrorKind::Closed, "enough");
        // Only the first reason counts.
        monitor.close(ErrorKind::Protocol, "too late");
    };
    let all = async { tokio::join!(biased; write, read, close) };
    let ends = tokio::time::timeout(Duration::from_secs(5), all)
        .await
        .unwrap();
    assert_eq!((ends.0.as_str(), ends.1.as_str()), ("enough", "enough"));
    assert_eq!(monitor.close_reason().unwrap().kind, ErrorKind::Closed);
    assert_eq!(monitor.progress(1), Progress::Begun, "it left in part");
}

#[tokio::test]
async fn correlation_ids_may_wrap() {
    let (mut transport, monitor, _taken) = over_writes(usize::MAX);
    for id in [i32::MAX - 1, i32::MAX, i32::MIN] {
        send(&mut transport, &request(id, 0)).await;
        assert_eq!(monitor.progress(id), Progress::Written);
        assert_eq!(monitor.progress(id.wrapping_add(1)), Progress::NotBegun);
    }
    assert_eq!(monitor.progress(i32::MAX), Progress::Written);
}
