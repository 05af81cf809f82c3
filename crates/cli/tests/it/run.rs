//! The command at work: demos to their summary, services alone, and Ctrl-C.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use ferrokafka::broker::TestBroker;
use serde_json::Value;

fn eventmart(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eventmart"));
    command
        .args(args)
        .env("NO_COLOR", "1")
        .env_remove("EVENTMART_BROKER");
    command
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect()
}

/// Waits for a line of stdout that contains `text`, then asks the process to stop, as Ctrl-C does.
fn interrupt_after(child: &mut Child, text: &str) -> std::process::ExitStatus {
    let stdout = child.stdout.take().expect("stdout is piped");
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    assert!(
        lines.any(|line| line.contains(text)),
        "{text} was never printed"
    );
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    lines.for_each(drop);
    child.wait().unwrap()
}

#[test]
fn a_demo_in_json_ends_with_its_summary() {
    let output = eventmart(&["demo", "day3", "--fast", "--json", "--seed", "7"])
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = lines(&output);
    let summary = lines.last().unwrap();
    assert_eq!(
        (&summary["event"], &summary["demo"]),
        (&"summary".into(), &"day3".into())
    );
    assert_eq!(
        (&summary["passed"], &summary["failed"]),
        (&7.into(), &0.into())
    );
    assert_eq!(summary["seed"], 7);
    let held = lines
        .iter()
        .filter(|line| line["event"] == "fact" && line["held"] == true)
        .count();
    assert_eq!(summary["facts"], held);
}

#[test]
fn the_promised_lines_are_printed_word_for_word() {
    let output = eventmart(&["demo", "day3", "--fast"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    for line in [
        "=== EventMart Producer Demo ===",
        "User registered: user-101",
        "Product created: laptop-pro-15",
        "All events sent successfully with proper partitioning",
    ] {
        assert!(
            text.lines().any(|printed| printed == line),
            "{line} is missing in\n{text}"
        );
    }
    assert!(!text.contains('\u{1b}'), "escapes without a terminal");
}

#[test]
fn an_interrupted_demo_cleans_up_and_ends_with_130() {
    let mut child = eventmart(&["demo", "day4", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(
        interrupt_after(&mut child, r#""event":"step_passed","step":2"#).code(),
        Some(130)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_run_alone_and_commands_see_what_they_did() {
    let broker = TestBroker::builder()
        .config("auto.create.topics.enable", "false")
        .start()
        .await
        .unwrap();
    let bootstrap = broker.bootstrap();
    let run = |args: &[&str]| {
        let output = eventmart(args).args(["-b", &bootstrap]).output().unwrap();
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output
    };
    tokio::task::block_in_place(|| {
        run(&["topic", "create", "eventmart"]);
        let again = run(&["topic", "create", "eventmart"]);
        assert_eq!(
            String::from_utf8_lossy(&again.stdout)
                .matches("unchanged")
                .count(),
            7
        );
        let products = run(&["service", "product", "--rate", "0", "--json"]);
        assert_eq!(lines(&products).len(), 20);

        let audit = ["service", "audit", "--json", "-b", &bootstrap];
        let mut audit = eventmart(&audit)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        assert_eq!(
            interrupt_after(&mut audit, r#""event_type":"product-created""#).code(),
            Some(130)
        );
        // It stopped between two polls: what it had polled is processed and committed.
        let lag = lines(&run(&["group", "lag", "eventmart-audit", "--json"]));
        let committed: i64 = lag.iter().filter_map(|row| row["committed"].as_i64()).sum();
        assert!((1..=20).contains(&committed), "{lag:?}");
        let entries = run(&["topic", "describe", "eventmart-audit", "--json"]);
        assert_eq!(lines(&entries)[0]["configs"]["compression.type"], "lz4");
    });
    broker.stop().await;
}
