//! A proxy on loopback that cuts connections at scripted points: the fault that leaves a producer in doubt.
//!
//! It forwards whole frames. When armed, it lets the next Produce request through, waits for the broker's answer, so
//! that the write has surely happened, and then cuts the connection instead of handing the answer on. The client
//! cannot know whether its records were written; it has to send them again, and the broker has to notice.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ferrokafka::ClientConfig;
use ferrokafka::admin::ClusterDescription;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::demo::watch::PATIENCE;
use crate::error::{Error, ErrorKind, Result};

/// One listener for each broker; everything ends when it is dropped.
pub(super) struct Proxy {
    ports: HashMap<(String, u16), u16>,
    script: Arc<Script>,
    _listeners: JoinSet<()>,
}

#[derive(Debug)]
struct Script {
    armed: AtomicUsize,
    cuts: watch::Sender<usize>,
}

impl Script {
    /// Whether this Produce request is one to cut after.
    fn strikes(&self) -> bool {
        self.armed
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |armed| {
                armed.checked_sub(1)
            })
            .is_ok()
    }
}

impl Proxy {
    /// Listens for each broker of the cluster.
    pub(super) async fn before(cluster: &ClusterDescription) -> Result<Self> {
        let script = Arc::new(Script {
            armed: AtomicUsize::new(0),
            cuts: watch::channel(0).0,
        });
        let (mut ports, mut listeners) = (HashMap::new(), JoinSet::new());
        for broker in cluster.brokers.values() {
            let unable = |error: std::io::Error| {
                Error::new(
                    ErrorKind::Machine,
                    "the demo's proxy cannot listen on loopback",
                )
                .because(error)
            };
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(unable)?;
            let broker = (broker.host.to_string(), broker.port);
            ports.insert(
                broker.clone(),
                listener.local_addr().map_err(unable)?.port(),
            );
            listeners.spawn(serve(listener, broker, Arc::clone(&script)));
        }
        Ok(Self {
            ports,
            script,
            _listeners: listeners,
        })
    }

    /// The same configuration, with every broker dialled through the proxy.
    pub(super) fn through(&self, config: ClientConfig) -> ClientConfig {
        let ports = self.ports.clone();
        config.address_map(
            move |host, port| match ports.get(&(host.to_owned(), port)) {
                Some(proxied) => ("127.0.0.1".to_owned(), *proxied),
                None => (host.to_owned(), port),
            },
        )
    }

    /// Cuts after the next Produce request.
    pub(super) fn arm(&self) {
        self.script.armed.fetch_add(1, Ordering::AcqRel);
    }

    /// Connections cut so far.
    pub(super) fn cuts(&self) -> usize {
        *self.script.cuts.borrow()
    }

    /// Waits for the cut with that number.
    pub(super) async fn wait_for_cut(&self, number: usize) -> Result<()> {
        let mut cuts = self.script.cuts.subscribe();
        let came = timeout(PATIENCE, cuts.wait_for(|cuts| *cuts >= number)).await;
        let late = || {
            Error::timeout(format!(
                "cut {number} did not come: no produce request passed the proxy"
            ))
        };
        came.map_err(|_| late())?.map(|_| ()).map_err(|_| late())
    }
}

async fn serve(listener: TcpListener, broker: (String, u16), script: Arc<Script>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    connections.spawn(relay(client, broker.clone(), Arc::clone(&script)));
                }
                Err(error) => tracing::warn!(%error, "the proxy could not accept a connection"),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Forwards frames both ways until an end closes or the script cuts; dropping the sockets is the cut.
async fn relay(client: TcpStream, (host, port): (String, u16), script: Arc<Script>) {
    let Ok(broker) = TcpStream::connect((host.as_str(), port)).await else {
        return;
    };
    // Without this, small frames would wait for acknowledgements of the frames before them.
    let _ = client
        .set_nodelay(true)
        .and_then(|()| broker.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_broker, mut to_broker) = broker.into_split();
    let doomed: Mutex<Option<i32>> = Mutex::new(None);
    let requests = async {
        while let Some(frame) = frame(&mut from_client).await {
            if api_key(&frame) == Some(PRODUCE) && script.strikes() {
                *doomed.lock() = correlation(&frame, REQUEST_CORRELATION);
            }
            if to_broker.write_all(&frame).await.is_err() {
                return;
            }
        }
    };
    let responses = async {
        while let Some(frame) = frame(&mut from_broker).await {
            let answered = correlation(&frame, RESPONSE_CORRELATION);
            let cut = answered.is_some() && *doomed.lock() == answered;
            if cut {
                script.cuts.send_modify(|cuts| *cuts += 1);
                return;
            }
            if to_client.write_all(&frame).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = requests => {}
        () = responses => {}
    }
}

const PRODUCE: i16 = 0;
const LENGTH: usize = 4;
/// Where the correlation id stands in a request, behind length, API key and version, and in a response.
const REQUEST_CORRELATION: usize = LENGTH + 4;
const RESPONSE_CORRELATION: usize = LENGTH;
/// No frame of a demo is longer.
const FRAME_BYTES_MAX: u64 = 64 << 20;

/// The next frame with its length before it; `None` at the end, or when it is not one.
async fn frame(from: &mut (impl AsyncReadExt + Unpin)) -> Option<Vec<u8>> {
    let mut length = [0; LENGTH];
    from.read_exact(&mut length).await.ok()?;
    let body = u64::try_from(i32::from_be_bytes(length))
        .ok()
        .filter(|body| *body <= FRAME_BYTES_MAX)?;
    let mut frame = length.to_vec();
    // Memory grows with what arrives, not with what the length announces.
    let arrived = from.take(body).read_to_end(&mut frame).await.ok()?;
    (arrived as u64 == body).then_some(frame)
}

fn api_key(request: &[u8]) -> Option<i16> {
    Some(i16::from_be_bytes(
        request.get(LENGTH..LENGTH + 2)?.try_into().ok()?,
    ))
}

fn correlation(frame: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_are_bounded_and_whole() {
        let mut bytes: &[u8] = &[0, 0, 0, 2, 7, 8, 0, 0, 0, 9, 1];
        assert_eq!(frame(&mut bytes).await, Some(vec![0, 0, 0, 2, 7, 8]));
        assert_eq!(frame(&mut bytes).await, None, "cut off");
        let mut negative: &[u8] = &[0xff; 8];
        assert_eq!(frame(&mut negative).await, None);
        let mut huge: &[u8] = &[0x7f, 0xff, 0xff, 0xff, 1];
        assert_eq!(frame(&mut huge).await, None);
    }

    #[test]
    fn the_script_strikes_as_often_as_armed() {
        let script = Script {
            armed: AtomicUsize::new(2),
            cuts: watch::channel(0).0,
        };
        assert_eq!(
            [script.strikes(), script.strikes(), script.strikes()],
            [true, true, false]
        );
    }
}
