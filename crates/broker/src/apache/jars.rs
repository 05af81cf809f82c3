//! The jars of Apache Kafka: from `KAFKA_HOME`, or from Maven Central into a cache folder, once a version.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::error::{Error, ErrorKind};

/// The release that everything here is tested with.
pub const VERSION: &str = "4.3.1";
/// Kafka brings an slf4j without a binding, and with it a node that logs nothing.
const SLF4J_VERSION: &str = "2.0.17";
const LOG4J_VERSION: &str = "2.25.5";
/// Longer than any working connection needs for 55 MB.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(600);

/// The folder with the jars of Apache Kafka, fetched if they are not there yet.
///
/// `KAFKA_HOME/libs` if that is set, else `ferrokafka/apache-kafka-VERSION` in the user's cache folder.
///
/// # Errors
/// [`ErrorKind::MavenMissing`], [`ErrorKind::Download`], and [`ErrorKind::Io`] for a `KAFKA_HOME` without jars.
///
/// # Cancellation
/// A download that is dropped leaves nothing in the cache.
pub async fn jars() -> Result<PathBuf, Error> {
    if let Some(home) = std::env::var_os("KAFKA_HOME").filter(|home| !home.is_empty()) {
        let libs = PathBuf::from(home).join("libs");
        return if has_kafka(&libs) {
            Ok(libs)
        } else {
            Err(Error::new(
                ErrorKind::Io,
                format!(
                    "KAFKA_HOME is set, but {} holds no kafka-clients jar",
                    libs.display()
                ),
            ))
        };
    }
    let cache = cache_folder();
    let target = cache.join(format!("apache-kafka-{VERSION}"));
    if !has_kafka(&target) {
        tracing::info!(
            version = VERSION,
            "fetching Apache Kafka from Maven Central"
        );
        download(&cache, &target).await?;
    }
    Ok(target)
}

fn cache_folder() -> PathBuf {
    let from = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = from("XDG_CACHE_HOME").or_else(|| from("HOME").map(|home| home.join(".cache")));
    base.unwrap_or_else(std::env::temp_dir).join("ferrokafka")
}

fn has_kafka(libs: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(libs) else {
        return false;
    };
    entries.flatten().any(|entry| {
        entry
            .file_name()
            .to_string_lossy()
            .starts_with("kafka-clients-")
    })
}

/// Fetches into a folder beside the target and renames it: whoever sees the target sees all of it.
async fn download(cache: &Path, target: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(cache)
        .map_err(|source| Error::io(format!("cannot make {}", cache.display()), source))?;
    let work = tempfile::Builder::new()
        .prefix("fetching-")
        .tempdir_in(cache)
        .map_err(|source| Error::io(format!("cannot write into {}", cache.display()), source))?;
    let libs = work.path().join("libs");
    std::fs::write(work.path().join("pom.xml"), pom())
        .map_err(|source| Error::io("cannot write a pom", source))?;
    run_maven(work.path(), &libs).await?;
    match std::fs::rename(&libs, target) {
        // Another process was faster; its jars are as good.
        Err(_) if has_kafka(target) => Ok(()),
        outcome => {
            outcome.map_err(|source| Error::io(format!("cannot fill {}", target.display()), source))
        }
    }
}

async fn run_maven(folder: &Path, libs: &Path) -> Result<(), Error> {
    let mut output_directory = std::ffi::OsString::from("-DoutputDirectory=");
    output_directory.push(libs);
    let maven = Command::new("mvn")
        .args([
            "-q",
            "-B",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
        ])
        .arg(output_directory)
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(DOWNLOAD_TIMEOUT, maven).await {
        Ok(Ok(output)) => output,
        Ok(Err(source)) if source.kind() == io::ErrorKind::NotFound => {
            return Err(Error::new(
                ErrorKind::MavenMissing,
                "mvn is not on the path",
            ));
        }
        Ok(Err(source)) => return Err(Error::io("cannot run mvn", source)),
        Err(_) => {
            return Err(Error::new(
                ErrorKind::Download,
                "mvn took more than ten minutes",
            ));
        }
    };
    if !output.status.success() || !has_kafka(libs) {
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        let message = format!("mvn could not fetch Apache Kafka {VERSION}");
        return Err(
            Error::new(ErrorKind::Download, message).with_last_words(super::node::tail(&text))
        );
    }
    Ok(())
}

fn pom() -> String {
    let dependencies: String = [
        ("org.apache.kafka", "kafka_2.13", VERSION),
        ("org.apache.kafka", "kafka-tools", VERSION),
        ("org.slf4j", "slf4j-api", SLF4J_VERSION),
        ("org.apache.logging.log4j", "log4j-slf4j2-impl", LOG4J_VERSION),
    ]
    .iter()
    .map(|(group, artifact, version)| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>\n"
        )
    })
    .collect();
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\n\
         <groupId>ferrokafka</groupId><artifactId>jars</artifactId><version>1</version>\n\
         <dependencies>\n{dependencies}</dependencies></project>\n"
    )
}
