//! One node: its ports and properties, its process, and its end.

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::error::{Error, ErrorKind};
use super::{probe, tool};

/// Formatting takes under a second; a loaded machine gets this long.
const FORMAT_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two questions whether a node is ready.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);
/// Lines of a log that an error carries.
const TAIL_LINES: usize = 15;
/// The node logs to its standard output, which is a file of its folder.
const LOG4J: &str = "\
status = warn
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = [%d] %p %m (%c)%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
";

/// Java: of `JAVA_HOME` if that is set, else of the path.
pub(super) fn java() -> PathBuf {
    match std::env::var_os("JAVA_HOME").filter(|home| !home.is_empty()) {
        Some(home) => PathBuf::from(home).join("bin").join("java"),
        None => PathBuf::from("java"),
    }
}

/// The last lines of a program's output.
pub(super) fn tail(text: &str) -> String {
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// Where a node lives: its folder on disk and its port.
#[derive(Debug)]
pub(super) struct Layout {
    id: i32,
    folder: PathBuf,
    port: u16,
}

impl Layout {
    /// Picks ports for all nodes at once, and writes their configuration.
    pub(super) fn plan(
        folder: &Path,
        nodes: usize,
        extra: &[(String, String)],
    ) -> Result<Vec<Self>, Error> {
        let ports = free_ports(nodes * 2).map_err(|source| Error::io("no free ports", source))?;
        let (broker_ports, controller_ports) = ports.split_at(nodes);
        let voters: Vec<_> = (1..)
            .zip(controller_ports)
            .map(|(id, port)| format!("{id}@127.0.0.1:{port}"))
            .collect();
        let mut layouts = Vec::with_capacity(nodes);
        for (id, (&port, &controller_port)) in (1..).zip(broker_ports.iter().zip(controller_ports))
        {
            let layout = Self {
                id,
                folder: folder.join(format!("node-{id}")),
                port,
            };
            let text = layout.properties(controller_port, &voters.join(","), nodes, extra);
            layout
                .write(&text)
                .map_err(|source| Error::io("cannot write a node's configuration", source))?;
            layouts.push(layout);
        }
        Ok(layouts)
    }

    fn write(&self, properties: &str) -> io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        std::fs::write(self.properties_file(), properties)?;
        std::fs::write(self.folder.join("log4j2.properties"), LOG4J)
    }

    fn properties_file(&self) -> PathBuf {
        self.folder.join("server.properties")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    fn properties(
        &self,
        controller_port: u16,
        voters: &str,
        nodes: usize,
        extra: &[(String, String)],
    ) -> String {
        let replicas = nodes.min(3);
        let in_sync = if nodes >= 3 { 2 } else { 1 };
        let (id, port) = (self.id, self.port);
        let listener = format!("PLAINTEXT://127.0.0.1:{port}");
        let fixed: &[(&str, String)] = &[
            ("process.roles", "broker,controller".into()),
            ("node.id", id.to_string()),
            ("controller.quorum.voters", voters.into()),
            (
                "listeners",
                format!("{listener},CONTROLLER://127.0.0.1:{controller_port}"),
            ),
            ("advertised.listeners", listener),
            ("controller.listener.names", "CONTROLLER".into()),
            (
                "listener.security.protocol.map",
                "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT".into(),
            ),
            ("log.dirs", self.folder.join("data").display().to_string()),
            ("offsets.topic.replication.factor", replicas.to_string()),
            (
                "transaction.state.log.replication.factor",
                replicas.to_string(),
            ),
            (
                "share.coordinator.state.topic.replication.factor",
                replicas.to_string(),
            ),
            ("transaction.state.log.min.isr", in_sync.to_string()),
            ("share.coordinator.state.topic.min.isr", in_sync.to_string()),
            // 50 by default: slow to start.
            ("offsets.topic.num.partitions", "8".into()),
            ("transaction.state.log.num.partitions", "8".into()),
            // 3 s by default: every first join of a group would wait that long.
            ("group.initial.rebalance.delay.ms", "0".into()),
            // 6 s by default: members are killed in tests and demos.
            ("group.min.session.timeout.ms", "100".into()),
            // 128 MB by default.
            ("log.cleaner.dedupe.buffer.size", "16777216".into()),
            // 15 s, 5 min and 30 s by default: compaction and retention are watched at work.
            ("log.cleaner.backoff.ms", "1000".into()),
            ("log.retention.check.interval.ms", "1000".into()),
            ("log.initial.task.delay.ms", "1000".into()),
        ];
        let mut text = String::new();
        for (key, value) in fixed
            .iter()
            .filter(|(key, _)| !extra.iter().any(|(replaced, _)| replaced == key))
        {
            let _ = writeln!(text, "{key}={value}");
        }
        for (key, value) in extra {
            let _ = writeln!(text, "{key}={value}");
        }
        text
    }

    pub(super) async fn format(&self, libs: &Path, cluster_id: &str) -> Result<(), Error> {
        let mut command = tool(libs, "kafka.tools.StorageTool");
        command
            .args(["format", "-t", cluster_id, "-c"])
            .arg(self.properties_file())
            .stdin(Stdio::null());
        let output = match tokio::time::timeout(FORMAT_TIMEOUT, command.output()).await {
            Ok(output) => output.map_err(|source| start_error(source, "java"))?,
            Err(_) => {
                return Err(Error::new(
                    ErrorKind::Start,
                    "formatting a node took more than a minute",
                ));
            }
        };
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        Err(ended(
            &format!("node {} could not be formatted", self.id),
            output.status,
            &text,
        ))
    }
}

/// Ports that nobody listens on now. They are held until all are picked, so that none is picked twice.
fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    let held: Vec<_> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    held.iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect()
}

fn start_error(source: io::Error, program: &str) -> Error {
    if source.kind() == io::ErrorKind::NotFound {
        Error::new(
            ErrorKind::JavaMissing,
            format!("{} is not there", java().display()),
        )
    } else {
        Error::io(format!("cannot run {program}"), source)
    }
}

/// The error of a Java program that ended, told apart by what it said.
fn ended(what: &str, status: ExitStatus, text: &str) -> Error {
    let kind = if text.contains("UnsupportedClassVersionError") {
        ErrorKind::JavaMissing
    } else if text.contains("Address already in use") {
        ErrorKind::PortTaken
    } else {
        ErrorKind::Start
    };
    Error::new(kind, format!("{what} ({status})")).with_last_words(tail(text))
}

/// A node's process; killed when dropped.
#[derive(Debug)]
pub(super) struct Node {
    layout: Layout,
    child: Child,
}

impl Node {
    pub(super) fn spawn(layout: Layout, libs: &Path) -> Result<Self, Error> {
        let child = Self::process(&layout, libs)?;
        Ok(Self { layout, child })
    }

    pub(super) fn respawn(&mut self, libs: &Path) -> Result<(), Error> {
        self.child = Self::process(&self.layout, libs)?;
        Ok(())
    }

    fn process(layout: &Layout, libs: &Path) -> Result<Child, Error> {
        let log_file = layout.log_file();
        let log = File::create(&log_file)
            .and_then(|log| Ok((log.try_clone()?, log)))
            .map_err(|source| Error::io(format!("cannot write {}", log_file.display()), source))?;
        let mut log4j = std::ffi::OsString::from("-Dlog4j2.configurationFile=");
        log4j.push(layout.folder.join("log4j2.properties"));
        Command::new(java())
            .args(["-Xms256m", "-Xmx1g", "-cp"])
            .arg(libs.join("*"))
            .arg(log4j)
            .arg("kafka.Kafka")
            .arg(layout.properties_file())
            .stdin(Stdio::null())
            .stdout(log.0)
            .stderr(log.1)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| start_error(source, "java"))
    }

    pub(super) fn id(&self) -> i32 {
        self.layout.id
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.layout.port)
    }

    /// Waits until this node names all brokers and a controller: a listening port alone says little.
    pub(super) async fn wait_until_ready(
        &mut self,
        brokers: usize,
        deadline: Instant,
    ) -> Result<(), Error> {
        loop {
            if let Some(status) = self
                .child
                .try_wait()
                .map_err(|source| Error::io("cannot watch a node", source))?
            {
                return Err(ended(
                    &format!("node {} ended", self.layout.id),
                    status,
                    &self.log(),
                ));
            }
            let answer = tokio::time::timeout_at(deadline, probe::ask(&self.address())).await;
            let seen = match answer {
                Ok(Ok(seen)) if seen.brokers >= brokers && seen.has_controller => return Ok(()),
                Ok(Ok(seen)) => format!("it names {} of {brokers} brokers", seen.brokers),
                Ok(Err(reason)) => reason,
                Err(_) => "it did not answer".to_owned(),
            };
            if Instant::now() + PROBE_INTERVAL >= deadline {
                let message = format!(
                    "node {} did not become ready in time: {seen}",
                    self.layout.id
                );
                return Err(
                    Error::new(ErrorKind::NotReady, message).with_last_words(tail(&self.log()))
                );
            }
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
    }

    fn log(&self) -> String {
        std::fs::read(self.layout.log_file())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    pub(super) async fn kill(&mut self) -> Result<(), Error> {
        self.child
            .kill()
            .await
            .map_err(|source| Error::io("cannot kill a node", source))
    }

    /// SIGTERM, and SIGKILL at the deadline.
    pub(super) async fn stop(&mut self, deadline: Instant) {
        self.terminate();
        if tokio::time::timeout_at(deadline, self.child.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                node = self.layout.id,
                "Apache Kafka did not stop in time and is killed"
            );
            let _ = self.child.kill().await;
        }
    }

    #[cfg(unix)]
    fn terminate(&mut self) {
        use rustix::process::{Pid, Signal, kill_process};
        // The id is of a child that was not waited for yet, so it cannot belong to another process.
        let pid = self
            .child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    #[cfg(not(unix))]
    fn terminate(&mut self) {
        let _ = self.child.start_kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_given_replaces_the_one_written() {
        let layout = Layout {
            id: 1,
            folder: PathBuf::from("/data"),
            port: 9092,
        };
        let extra = [
            ("offsets.topic.num.partitions".to_owned(), "50".to_owned()),
            ("broker.rack".to_owned(), "a".to_owned()),
        ];
        let text = layout.properties(9093, "1@127.0.0.1:9093", 3, &extra);
        let lines: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("offsets.topic.num.partitions="))
            .collect();
        assert_eq!(lines, ["offsets.topic.num.partitions=50"]);
        assert!(text.contains("broker.rack=a\n"));
        assert!(text.contains("offsets.topic.replication.factor=3\n"));
        assert!(text.contains("transaction.state.log.min.isr=2\n"));
    }

    #[test]
    fn last_words_are_told_apart() {
        let status = ExitStatus::default();
        let kind = |text| ended("node 1 ended", status, text).kind();
        assert_eq!(
            kind("java.net.BindException: Address already in use"),
            ErrorKind::PortTaken
        );
        assert_eq!(
            kind("java.lang.UnsupportedClassVersionError: kafka/Kafka"),
            ErrorKind::JavaMissing
        );
        assert_eq!(kind("something else"), ErrorKind::Start);
    }
}
