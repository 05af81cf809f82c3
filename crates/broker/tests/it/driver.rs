//! A connection that sends one frame and reads one, and nothing else.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use ferrokafka_broker::TestBroker;
use ferrokafka_wire::frame;
use ferrokafka_wire::protocol::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest wait for anything in these tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Driver {
    stream: TcpStream,
    correlation_id: i32,
}

impl Driver {
    /// Connects to the first node.
    pub(crate) async fn connect(broker: &TestBroker) -> Self {
        Self::connect_to(broker, 1).await
    }

    /// Connects to the `node`th live node.
    pub(crate) async fn connect_to(broker: &TestBroker, node: usize) -> Self {
        let bootstrap = broker.bootstrap();
        Self::connect_address(bootstrap.split(',').nth(node - 1).unwrap()).await
    }

    /// Connects to `host:port`.
    pub(crate) async fn connect_address(address: &str) -> Self {
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
            correlation_id: 0,
        }
    }

    /// Sends a request and decodes its response.
    pub(crate) async fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let body = self.exchange(version, request).await;
        frame::decode_response::<R>(body, version).unwrap()
    }

    /// Sends a request and returns the response's body.
    pub(crate) async fn exchange<R: Request>(&mut self, version: i16, request: &R) -> Bytes {
        self.send(version, request).await;
        let mut answer = self.read().await.expect("the broker answers");
        let correlation_id = frame::decode_response_header::<R>(&mut answer, version).unwrap();
        assert_eq!(correlation_id, self.correlation_id);
        answer
    }

    pub(crate) async fn send<R: Request>(&mut self, version: i16, request: &R) {
        self.correlation_id += 1;
        let frame =
            frame::encode_request(version, self.correlation_id, Some("driver"), request).unwrap();
        self.write(&frame).await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next frame without its length, or `None` when the broker closed the connection.
    pub(crate) async fn read(&mut self) -> Option<Bytes> {
        timeout(PATIENCE, async {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length).await.ok()?;
            let mut frame = BytesMut::zeroed(usize::try_from((&length[..]).get_i32()).unwrap());
            self.stream.read_exact(&mut frame).await.ok()?;
            Some(frame.freeze())
        })
        .await
        .expect("an answer or an end within the patience of the test")
    }
}
