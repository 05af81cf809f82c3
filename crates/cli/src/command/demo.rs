//! `eventmart demo DAY`: starts the brokers, plays the day, and leaves nothing behind.

use std::sync::Arc;

use eventmart_core::cluster::{Cluster, ClusterChoice};
use eventmart_core::demo::{self, Options};
use eventmart_core::error::Result;

use crate::args::{BrokerChoice, Day, DemoArgs};
use crate::failure::Exit;
use crate::interrupt::Interrupt;
use crate::render;

pub(crate) async fn run(args: DemoArgs, no_color: bool) -> Result<Exit> {
    let mut interrupt = Interrupt::listen();
    let choice = choice(&args);
    if choice == ClusterChoice::Apache {
        anstream::eprintln!("starting Apache Kafka … (the first time its jars are fetched)");
    }
    let Some(cluster) = interrupt
        .or(Cluster::start(&choice, args.seed, &run_name()))
        .await
    else {
        return Ok(Exit::Interrupted);
    };
    let cluster = cluster?;
    let options = Options {
        seed: args.seed,
        fast: args.fast,
        keep: args.keep,
    };
    let sink = render::renderer(args.json, no_color);
    let played = interrupt
        .or(demo::play(
            day(args.day),
            &cluster,
            Arc::clone(&sink),
            options,
        ))
        .await;
    let mut clean = true;
    if args.keep && played.is_some() {
        keep(&cluster, &mut interrupt).await;
    } else {
        clean = clean_up(&cluster, played.is_none(), &mut interrupt).await;
    }
    interrupt.or_exit(cluster.stop()).await;
    match played {
        None => {
            if clean {
                anstream::eprintln!("interrupted: nothing left behind");
            }
            Ok(Exit::Interrupted)
        }
        // What broke off has been told by the renderer already, with the reason and the remedy.
        Some(Err(error)) => Ok(Exit::from(error.kind())),
        Some(Ok(())) => Ok(Exit::Ok),
    }
}

/// Removes what the run created on a cluster that is shared; says what may be left if that fails.
async fn clean_up(cluster: &Cluster, interrupted: bool, interrupt: &mut Interrupt) -> bool {
    if interrupted && !cluster.is_own() {
        anstream::eprintln!("cleaning up … (once more Ctrl-C stops at once)");
    }
    let result = interrupt.or_exit(demo::clean_up(cluster)).await;
    if let Err(error) = &result {
        let prefix = cluster.names().prefix();
        anstream::eprintln!(
            "topics and groups named {prefix}… may be left on {}: {error}",
            cluster.bootstrap()
        );
    }
    result.is_ok()
}

fn day(day: Day) -> demo::Day {
    match day {
        Day::Day1 => demo::Day::One,
        Day::Day3 => demo::Day::Three,
        Day::Day4 => demo::Day::Four,
    }
}

fn choice(args: &DemoArgs) -> ClusterChoice {
    match &args.broker {
        BrokerChoice::Embedded => ClusterChoice::Embedded,
        BrokerChoice::Apache => ClusterChoice::Apache,
        BrokerChoice::At(bootstrap) => ClusterChoice::At {
            bootstrap: bootstrap.clone(),
            elsewhere: args.yes,
        },
    }
}

/// Tells runs on a shared cluster apart: no two processes of a machine have it at one time.
fn run_name() -> String {
    format!("{:x}", std::process::id())
}

/// Leaves everything as it is; brokers of our own live until Ctrl-C.
async fn keep(cluster: &Cluster, interrupt: &mut Interrupt) {
    if cluster.is_own() {
        anstream::eprintln!(
            "brokers kept at {}; look: eventmart topic list -b {0}; stop: Ctrl-C",
            cluster.bootstrap()
        );
        interrupt.wait().await;
    } else {
        anstream::eprintln!(
            "kept on {}: topics and groups named {}…",
            cluster.bootstrap(),
            cluster.names().prefix()
        );
    }
}
