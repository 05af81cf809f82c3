//! A loopback proxy between producer and broker that can keep the broker's answers to itself.
//!
//! Without it a kill seldom falls between an append and its acknowledgement, and that is where a broker must recognise
//! a repeated batch: with the answers held, everything in flight is appended and nothing of it is acknowledged.

use std::sync::Arc;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What becomes of answers. A connection belongs to the life of the broker in which it was opened.
#[derive(Debug, Clone, Copy)]
struct Gate {
    life: u64,
    held: bool,
}

/// The proxy; its connections end with it.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    gate: watch::Sender<Gate>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn start(broker: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (gate, watch) = watch::channel(Gate {
            life: 0,
            held: false,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, broker.into(), watch));
        Ok(Self {
            port,
            gate,
            _tasks: tasks,
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// From now on no answer comes through.
    pub(crate) fn hold_answers(&self) {
        self.gate.send_modify(|gate| gate.held = true);
    }

    /// The broker is dead: what was held is lost, as it would have been on the wire.
    pub(crate) fn lose_answers(&self) {
        self.gate.send_modify(|gate| {
            *gate = Gate {
                life: gate.life + 1,
                held: false,
            }
        });
    }
}

async fn accept(listener: TcpListener, broker: Arc<str>, gate: watch::Receiver<Gate>) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (broker, gate) = (broker.clone(), gate.clone());
        connections.spawn(async move {
            // An end that goes away, or a broker that is not there, closes the connection: that is all a proxy can say.
            let _ = connect(near, &broker, gate).await;
        });
    }
}

async fn connect(
    near: TcpStream,
    broker: &str,
    gate: watch::Receiver<Gate>,
) -> std::io::Result<()> {
    let far = TcpStream::connect(broker).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (mut requests, mut to_client) = near.into_split();
    let (mut answers, mut to_broker) = far.into_split();
    tokio::select! {
        outcome = tokio::io::copy(&mut requests, &mut to_broker) => outcome.map(|_| ()),
        outcome = pass_answers(&mut answers, &mut to_client, gate) => outcome,
    }
}

async fn pass_answers(
    answers: &mut (impl AsyncReadExt + Unpin),
    to_client: &mut (impl AsyncWriteExt + Unpin),
    mut gate: watch::Receiver<Gate>,
) -> std::io::Result<()> {
    let life = gate.borrow().life;
    let mut bytes = Vec::with_capacity(64 * 1024);
    loop {
        bytes.clear();
        let read = answers.read_buf(&mut bytes).await?;
        let now = gate.wait_for(|gate| !gate.held || gate.life != life).await;
        if read == 0 || now.is_ok_and(|gate| gate.life != life) {
            return Ok(());
        }
        to_client.write_all(&bytes).await?;
    }
}
