//! The process that is killed.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::plan::PARTITIONS;

const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// The topic that records are written to.
pub(crate) const TOPIC: &str = "crash";

/// `ferrokafka-broker` on one folder and one port, through all its lives.
#[derive(Debug)]
pub(crate) struct Broker {
    program: PathBuf,
    folder: PathBuf,
    address: String,
    child: Child,
}

impl Broker {
    pub(crate) async fn start(program: &Path, folder: &Path) -> Result<Self> {
        let (child, address) = launch(program, folder, "127.0.0.1:0").await?;
        Ok(Self {
            program: program.to_owned(),
            folder: folder.to_owned(),
            address,
            child,
        })
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// kill −9.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.context("cannot kill the broker")
    }

    /// The same again on the same port and folder.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        let (child, address) = launch(&self.program, &self.folder, &self.address)
            .await
            .context("after kill -9")?;
        if address != self.address {
            bail!("the broker came back on {address}, not on {}", self.address);
        }
        self.child = child;
        Ok(())
    }
}

async fn launch(program: &Path, folder: &Path, listen: &str) -> Result<(Child, String)> {
    let log_file = folder.join("broker.log");
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(&log_file)
        .context("the broker's log")?;
    let mut child = Command::new(program)
        .args([
            "--listen",
            listen,
            "--topic",
            &format!("{TOPIC}:{PARTITIONS}"),
            "--data-dir",
        ])
        .arg(folder.join("data"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let stdout = child.stdout.take().context("stdout is piped")?;
    let mut lines = BufReader::new(stdout).lines();
    let said = tokio::time::timeout(READY_TIMEOUT, lines.next_line()).await;
    if let Ok(Ok(Some(line))) = &said
        && let Some(address) = line.strip_prefix("ready ")
    {
        return Ok((child, address.trim().to_owned()));
    }
    let text = std::fs::read_to_string(&log_file).unwrap_or_default();
    let last: Vec<_> = text.lines().rev().take(10).collect();
    let last: Vec<_> = last.into_iter().rev().collect();
    bail!(
        "the broker said {said:?} instead of `ready HOST:PORT`:\n{}",
        last.join("\n")
    )
}
