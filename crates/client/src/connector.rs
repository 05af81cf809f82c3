//! Opening a byte stream to a broker.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

/// A byte stream to a broker.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// Opens byte streams to brokers. TLS will be a connector around another one.
pub trait Connector: Send + Sync + 'static {
    /// Opens a stream to this address, within `timeout`: the client gives up after it. A name may
    /// stand for several addresses; then this is the time for all of them.
    fn dial<'a>(
        &'a self,
        host: &'a str,
        port: u16,
        timeout: Duration,
    ) -> BoxFuture<'a, io::Result<Box<dyn Stream>>>;
}

/// Plain TCP: every address of a name is tried in turn, Nagle's algorithm is off, keepalive is on.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpConnector;

/// Silence after which the kernel probes a connection, and the time between probes.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(20));

impl Connector for TcpConnector {
    fn dial<'a>(
        &'a self,
        host: &'a str,
        port: u16,
        limit: Duration,
    ) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        async move {
            let late = |what: &str| io::Error::new(io::ErrorKind::TimedOut, what.to_owned());
            let deadline = Instant::now() + limit;
            let addresses = timeout_at(deadline, lookup_host((host, port)))
                .await
                .map_err(|_| late("the name was not resolved in time"))??;
            let mut addresses = addresses.collect::<Vec<SocketAddr>>();
            addresses.dedup();
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            for (index, address) in addresses.iter().enumerate() {
                // An address that swallows everything must leave time for those after it.
                let left = deadline.saturating_duration_since(Instant::now());
                let share = left / u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
                match timeout(share, TcpStream::connect(address)).await {
                    Ok(Ok(stream)) => {
                        stream.set_nodelay(true)?;
                        SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE)?;
                        return Ok(Box::new(stream) as Box<dyn Stream>);
                    }
                    Ok(Err(error)) => last = at(*address, &error),
                    Err(_) => last = at(*address, &late("no answer in time")),
                }
            }
            Err(last)
        }
        .boxed()
    }
}

/// The same error, naming the address.
fn at(address: SocketAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{address}: {error}"))
}
