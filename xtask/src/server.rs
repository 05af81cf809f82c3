//! A broker as a process: started, awaited by its `ready` line, and stopped in order.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cargo;

/// Enough for three nodes of Apache Kafka on a busy machine, the first download of its jars included.
const READY_TIMEOUT: Duration = Duration::from_secs(300);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// A process that prints `ready HOST:PORT[,HOST:PORT…]`.
#[derive(Debug)]
pub(crate) struct Server {
    pid: u32,
    exited: Receiver<Option<ExitStatus>>,
    bootstrap: String,
}

impl Server {
    /// `ferrokafka-broker` on a free port, with its data in `folder` and its log beside it.
    pub(crate) fn embedded(folder: &Path) -> Result<Self> {
        let binary = build("ferrokafka-broker", &["--bin", "ferrokafka-broker"])?;
        let mut command = Command::new(binary);
        command
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder.join("data"));
        Self::start(command, &folder.join("broker.log"))
    }

    /// One node of Apache Kafka.
    pub(crate) fn apache(folder: &Path) -> Result<Self> {
        Self::start(Command::new(apache_example()?), &folder.join("broker.log"))
    }

    fn start(mut command: Command, log: &Path) -> Result<Self> {
        let log_file = File::create(log).with_context(|| log.display().to_string())?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let (pid, stdout) = (child.id(), child.stdout.take().context("stdout is piped")?);
        let (say_ready, ready) = channel();
        let (say_exited, exited) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(bootstrap) = line.strip_prefix("ready ") {
                    let _ = say_ready.send(bootstrap.trim().to_owned());
                }
            }
            let _ = say_exited.send(child.wait().ok());
        });
        match ready.recv_timeout(READY_TIMEOUT) {
            Ok(bootstrap) => Ok(Self {
                pid,
                exited,
                bootstrap,
            }),
            Err(_) => {
                signal(pid, "KILL");
                let text = std::fs::read_to_string(log).unwrap_or_default();
                let last: Vec<_> = text.lines().rev().take(10).collect();
                let last: Vec<_> = last.into_iter().rev().collect();
                bail!(
                    "{command:?} said no `ready HOST:PORT`:\n{}",
                    last.join("\n")
                );
            }
        }
    }

    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// SIGTERM, and SIGKILL for one that does not listen. Says whether the process ended by itself and with 0.
    pub(crate) fn stop(self) -> bool {
        signal(self.pid, "TERM");
        match self.exited.recv_timeout(STOP_TIMEOUT) {
            Ok(status) => status.is_some_and(|status| status.success()),
            Err(_) => {
                signal(self.pid, "KILL");
                false
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After `stop` the thread has waited for the process, and its id must not be used again.
        if matches!(
            self.exited.try_recv(),
            Err(std::sync::mpsc::TryRecvError::Empty)
        ) {
            signal(self.pid, "KILL");
        }
    }
}

/// The shell's own `kill`: std can send no signal but SIGKILL, and the program may not be on the machine.
fn signal(pid: u32, name: &str) {
    let _ = Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .stderr(Stdio::null())
        .status();
}

/// Builds something of a package and returns the path of the program.
pub(crate) fn build(package: &str, target: &[&str]) -> Result<PathBuf> {
    eprintln!("building {package} …");
    let mut args = vec![
        "build",
        "-q",
        "--locked",
        "-p",
        package,
        "--message-format",
        "json-render-diagnostics",
    ];
    args.extend(target);
    let messages = cargo::output(&args)?;
    let mut executables = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    executables
        .next_back()
        .with_context(|| format!("cargo built no program of {package}"))
}

/// The program that starts Apache Kafka and knows where its jars are.
fn apache_example() -> Result<PathBuf> {
    build(
        "ferrokafka-broker",
        &["--features", "apache-kafka", "--example", "apache_kafka"],
    )
}

/// The folder with Apache Kafka's jars, fetched if they are not there.
pub(crate) fn kafka_jars() -> Result<String> {
    let output = Command::new(apache_example()?)
        .arg("--jars")
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        bail!("Apache Kafka's jars cannot be had");
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
