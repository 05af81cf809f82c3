//! A TCP proxy on the loopback whose connections can all be cut at once.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// See the module's documentation. It ends when it is dropped.
pub(crate) struct Proxy {
    port: u16,
    connections: Arc<Mutex<JoinSet<()>>>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(Mutex::new(JoinSet::new()));
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(
            listener,
            upstream.to_owned(),
            Arc::clone(&connections),
        ));
        Self {
            port,
            connections,
            _accepting: accepting,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Ends every connection, whatever it carries just now.
    pub(crate) fn cut(&self) {
        self.connections.lock().abort_all();
    }
}

async fn accept(listener: TcpListener, upstream: String, connections: Arc<Mutex<JoinSet<()>>>) {
    while let Ok((mut ours, _)) = listener.accept().await {
        let upstream = upstream.clone();
        connections.lock().spawn(async move {
            if let Ok(mut theirs) = TcpStream::connect(upstream).await {
                let _ = copy_bidirectional(&mut ours, &mut theirs).await;
            }
        });
    }
}
