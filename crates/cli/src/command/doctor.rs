//! `eventmart doctor`: what this machine offers the demos, and what to do about what is missing.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use eventmart_core::error::Result;
use eventmart_core::scenario::Column;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::args::DoctorArgs;
use crate::failure::Exit;
use crate::output::{self, Row};

/// One thing looked at. Without advice, it is as it should be.
struct Finding {
    name: &'static str,
    found: String,
    advice: Option<String>,
}

impl Finding {
    fn fine(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            found: found.into(),
            advice: None,
        }
    }

    fn lacking(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            name,
            found: found.into(),
            advice: Some(advice.into()),
        }
    }

    fn state(&self) -> &'static str {
        if self.advice.is_none() {
            "ok"
        } else {
            "missing"
        }
    }
}

/// Ports that the platform uses by default.
const PORTS: [(&str, u16); 1] = [("port 9092 (broker)", 9092)];

pub(crate) async fn run(args: DoctorArgs) -> Result<Exit> {
    let mut findings = vec![version()];
    for (name, port) in PORTS {
        findings.push(port_free(name, port).await);
    }
    let advice = "needed for --broker apache only: install a JDK 17 or newer";
    findings.push(tool("java", &["-version"], advice).await);
    findings.push(kafka().await);
    findings.push(temporary());
    let columns = [
        Column::text("what"),
        Column::text("state"),
        Column::text("found"),
        Column::text("advice"),
    ];
    let rows = findings.iter().map(|finding| {
        let advice = finding.advice.clone().unwrap_or_default();
        let cells = [finding.name, finding.state(), &finding.found, &advice].map(str::to_owned).to_vec();
        let json = json!({ "name": finding.name, "state": finding.state(), "found": finding.found, "advice": advice });
        Row { cells, json }
    });
    output::print(&columns, rows.collect(), args.output.form());
    Ok(Exit::Ok)
}

fn version() -> Finding {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    Finding::fine(
        "eventmart",
        format!("{} on {os} {arch}", env!("CARGO_PKG_VERSION")),
    )
}

async fn port_free(name: &'static str, port: u16) -> Finding {
    match TcpListener::bind(("127.0.0.1", port)).await {
        Ok(_) => Finding::fine(name, "free"),
        Err(error) => {
            let advice = format!(
                "see who: ss -ltnp 'sport = :{port}'; or: eventmart dev --listen 127.0.0.1:0"
            );
            Finding::lacking(name, error.to_string(), advice)
        }
    }
}

/// Kafka's jars: an unpacked release, or Maven to fetch them.
async fn kafka() -> Finding {
    const NAME: &str = "kafka jars";
    let advice =
        "needed for --broker apache only: set KAFKA_HOME to an unpacked release, or install Maven";
    let Some(home) = std::env::var_os("KAFKA_HOME").map(PathBuf::from) else {
        return Finding {
            name: NAME,
            ..tool("mvn", &["-v"], advice).await
        };
    };
    if home.join("libs").is_dir() {
        Finding::fine(NAME, format!("KAFKA_HOME {}", home.display()))
    } else {
        Finding::lacking(
            NAME,
            format!("KAFKA_HOME {} has no folder libs", home.display()),
            advice,
        )
    }
}

fn temporary() -> Finding {
    const NAME: &str = "temporary folder";
    let folder = std::env::temp_dir();
    match writable(&folder) {
        Ok(()) => Finding::fine(NAME, folder.display().to_string()),
        Err(error) => Finding::lacking(
            NAME,
            error.to_string(),
            "set TMPDIR to a folder that can be written",
        ),
    }
}

fn writable(folder: &Path) -> std::io::Result<()> {
    let file = folder.join(format!("eventmart-doctor-{}", std::process::id()));
    std::fs::write(&file, b"probe")?;
    std::fs::remove_file(&file)
}

/// The first line that a tool says about itself, on whichever stream.
async fn tool(name: &'static str, version_flag: &[&str], advice: &str) -> Finding {
    let child = Command::new(name)
        .args(version_flag)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    match tokio::time::timeout(Duration::from_secs(10), child).await {
        Err(_) => Finding::lacking(name, "does not answer", advice),
        Ok(Err(error)) => Finding::lacking(name, error.to_string(), advice),
        Ok(Ok(output)) => {
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            Finding::fine(
                name,
                text.lines()
                    .find(|line| !line.trim().is_empty())
                    .unwrap_or_default(),
            )
        }
    }
}
