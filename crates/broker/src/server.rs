//! Listeners and connections.
//!
//! A connection has one request in flight: the next frame is read when the last answer is written,
//! so answers cannot overtake each other and a slow client holds back only itself.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use ferrokafka_wire::messages::ApiKey;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::broker::{Broker, NodeId};
use crate::codec::{self, Header};
use crate::dispatch::{Alteration, Context};
use crate::testkit::faults::{Effect, Observed};

/// Bytes asked of the allocator before a frame has delivered any; it grows as they arrive.
const FRAME_FIRST_RESERVE: usize = 64 * 1024;

/// Bytes in flight on a connection without a socket.
const IN_MEMORY_BUFFER: usize = 256 * 1024;

/// How long a client may take to accept an answer before its connection is cut.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// A node's listener with all its connections; dropping it cuts them.
pub(crate) struct NodeServer {
    address: SocketAddr,
    tasks: JoinSet<()>,
}

impl NodeServer {
    /// Serves `node` on a bound listener.
    pub(crate) fn start(
        broker: Arc<Broker>,
        node: NodeId,
        listener: TcpListener,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(broker, node, listener));
        Ok(Self { address, tasks })
    }

    /// A connection without a socket.
    pub(crate) fn connect(&mut self, broker: Arc<Broker>, node: NodeId) -> DuplexStream {
        while self.tasks.try_join_next().is_some() {}
        let (client, server) = duplex(IN_MEMORY_BUFFER);
        self.tasks
            .spawn(serve(broker, node, server, "/127.0.0.1".into()));
        client
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening and cuts every connection; returns when all tasks are gone.
    pub(crate) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn accept(broker: Arc<Broker>, node: NodeId, listener: TcpListener) {
    let mut connections = JoinSet::new();
    let connections_max = usize::try_from(broker.config.max_connections).unwrap_or(usize::MAX);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) if connections.len() < connections_max => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%peer, %error, "connection without TCP_NODELAY");
                    }
                    let host = format!("/{}", peer.ip());
                    connections.spawn(serve(broker.clone(), node, stream, host.into()));
                }
                Ok((_, peer)) => tracing::warn!(%peer, connections_max, "connection refused: max.connections reached"),
                Err(error) => {
                    // Out of file descriptors, most likely: accepting again at once would spin.
                    tracing::warn!(%error, "accepting a connection failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            // Finished connections are collected as they end, so that the set stays small.
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                if let Err(error) = ended && error.is_panic() {
                    tracing::error!(%error, "a connection's task panicked");
                }
            }
        }
    }
}

/// Serves one connection until either side ends it.
pub(crate) async fn serve<S>(broker: Arc<Broker>, node: NodeId, stream: S, client_host: Arc<str>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut connection = Connection {
        broker,
        node,
        stream,
        client_host,
        buffer: BytesMut::new(),
    };
    if let Err(error) = connection.run().await {
        tracing::debug!(node, client = %connection.client_host, %error, "connection closed");
    }
}

struct Connection<S> {
    broker: Arc<Broker>,
    node: NodeId,
    stream: S,
    client_host: Arc<str>,
    buffer: BytesMut,
}

/// What becomes of a connection after a request.
enum Next {
    Read,
    Close,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    async fn run(&mut self) -> io::Result<()> {
        let idle = match u64::try_from(self.broker.config.connections_max_idle_ms) {
            Ok(ms) => Duration::from_millis(ms),
            Err(_) => Duration::from_secs(u64::from(u32::MAX)),
        };
        loop {
            let frame = match timeout(idle, self.read_frame()).await {
                Ok(Ok(Some(frame))) => frame,
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "idle for connections.max.idle.ms",
                    ));
                }
            };
            match self.request(frame).await? {
                Next::Read => {}
                Next::Close => return Ok(()),
            }
        }
    }

    /// The next frame without its length; `None` when the client closed between two frames.
    async fn read_frame(&mut self) -> io::Result<Option<Bytes>> {
        while self.buffer.len() < 4 {
            if self.fill(4).await? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
        let announced = (&self.buffer[..4]).get_i32();
        let limit = self.broker.config.socket_request_max_bytes;
        if announced < 0 || announced > limit {
            let message =
                format!("frame of {announced} bytes, socket.request.max.bytes is {limit}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let end = 4 + usize::try_from(announced).unwrap_or(0);
        while self.buffer.len() < end {
            if self.fill(end).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let mut frame = self.buffer.split_to(end);
        frame.advance(4);
        Ok(Some(frame.freeze()))
    }

    /// Reads once, reserving no more than twice what has arrived (and never beyond what is wanted).
    async fn fill(&mut self, wanted: usize) -> io::Result<usize> {
        let missing = wanted.saturating_sub(self.buffer.len());
        self.buffer
            .reserve(missing.min(self.buffer.len().max(FRAME_FIRST_RESERVE)));
        self.stream.read_buf(&mut self.buffer).await
    }

    async fn request(&mut self, frame: Bytes) -> io::Result<Next> {
        let (header, body) = codec::decode_header(frame).map_err(invalid)?;
        let observed = Observed::new(self.node, &header, &body);
        let effect = self.broker.faults.observe(observed);
        let cx = Context {
            broker: self.broker.clone(),
            node: self.node,
            version: header.version,
            client_id: header.client_id.clone(),
            client_host: self.client_host.clone(),
        };
        tracing::trace!(
            node = cx.node, api = ?header.api, cx.version, client_id = ?cx.client_id, client = %cx.client_host, "request"
        );
        let Some(effect) = effect else {
            return self.answer(cx, &header, body, Alteration::default()).await;
        };
        match effect {
            Effect::Reject(error) => {
                let alteration = Alteration {
                    reject: Some(error),
                    ..Alteration::default()
                };
                self.answer(cx, &header, body, alteration).await
            }
            Effect::Throttle(pause) => {
                let throttle_ms = i32::try_from(pause.as_millis()).unwrap_or(i32::MAX);
                self.answer(
                    cx,
                    &header,
                    body,
                    Alteration {
                        throttle_ms,
                        ..Alteration::default()
                    },
                )
                .await
            }
            Effect::Delay(pause) => {
                tokio::time::sleep(pause).await;
                self.answer(cx, &header, body, Alteration::default()).await
            }
            Effect::Hold(mut released) => {
                // An error means the holder is gone, which releases too.
                let _ = released.wait_for(|released| *released).await;
                self.answer(cx, &header, body, Alteration::default()).await
            }
            Effect::Disconnect => Ok(Next::Close),
            Effect::Silence => self.swallow().await,
            Effect::ApplyThenDisconnect => {
                let dispatch = self.broker.clone();
                let applied = dispatch
                    .dispatch()
                    .answer(cx, &header, body, Alteration::default())
                    .await;
                applied.map(|_| Next::Close).map_err(invalid)
            }
            Effect::RespondWith(respond) => {
                let body = respond(header.version, body).map_err(invalid)?;
                self.write(header.api, &header, body)
                    .await
                    .map(|()| Next::Read)
            }
        }
    }

    async fn answer(
        &mut self,
        cx: Context,
        header: &Header,
        body: Bytes,
        alteration: Alteration,
    ) -> io::Result<Next> {
        let broker = cx.broker.clone();
        let answer = broker
            .dispatch()
            .answer(cx, header, body, alteration)
            .await
            .map_err(invalid)?;
        if let Some(body) = answer {
            self.write(header.api, header, body).await?;
        }
        Ok(Next::Read)
    }

    async fn write(&mut self, api: ApiKey, header: &Header, body: BytesMut) -> io::Result<()> {
        // A version that is not served is answered in the oldest form, whose header is version 0.
        let served = self
            .broker
            .dispatch()
            .get(api)
            .is_some_and(|api| api.served.contains(&header.version));
        let version = if served { header.version } else { 0 };
        let head = codec::response_head(api, version, header.correlation_id, body.len());
        let mut whole = head.chain(body);
        let write = async {
            self.stream.write_all_buf(&mut whole).await?;
            self.stream.flush().await
        };
        timeout(WRITE_TIMEOUT, write)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// Reads and forgets until the client gives up.
    async fn swallow(&mut self) -> io::Result<Next> {
        loop {
            self.buffer.clear();
            self.buffer.reserve(FRAME_FIRST_RESERVE);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(Next::Close);
            }
        }
    }
}

fn invalid(error: codec::CodecError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
