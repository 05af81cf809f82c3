//! The story while all is well: events are written, and each group reads all of its own.

use std::time::Duration;

use tokio::time::Instant;

use crate::demo::STARTING_ORDER;
use crate::demo::day4::{Play, SESSIONS_WELL};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::expected::Expected;
use crate::platform::Service;
use crate::scenario::{Column, Stage, Step};

pub(super) async fn tell_while_all_is_well(play: &mut Play<'_>, stage: &mut Stage) -> Result<()> {
    let mut step = stage
        .step("Events flow: customers, a catalogue, visits, orders")
        .await;
    step.why(
        "nobody calls anybody: each service reads what concerns it and writes what follows from it",
    );
    let expected = play.expected(SESSIONS_WELL);
    let started = Instant::now();

    // The catalogue is read before the first order, or the stock-keeper would have to wait for it.
    play.shop.send_all(&play.products).await?;
    let products = play.products.len();
    let stock = &play.group(Service::Inventory).watch;
    stock
        .wait("the catalogue is read", |seen| {
            (seen.handled.len() >= products).then_some(())
        })
        .await?;

    play.shop.send_all(&play.users).await?;
    let welcomed = "user-registered";
    let watch = &play.group(Service::Notification).watch;
    watch
        .wait("the first welcome", |seen| {
            first_of(&seen.handled, welcomed)
        })
        .await?;
    step.line("NotificationService: Processing user-registered event");

    play.shop.send_all(&expected.updates).await?;
    tell_visits(play, 0, SESSIONS_WELL).await?;
    caught_up(play, &step, &expected, &STARTING_ORDER).await?;
    let took = started.elapsed();

    let orders = expected.count("order-placed") as u64;
    step.fact(
        "orders counted by AnalyticsService",
        orders,
        play.figures.count("order-placed"),
    );
    step.line("AnalyticsService: Order metrics updated");
    let audited = play.group(Service::Audit).watch.look(|seen| seen.led_to());
    step.fact(
        "entries written by AuditService",
        expected.read_by(Service::Audit),
        audited,
    );
    step.line("AuditService: Security event logged");
    step.fact(
        "revenue counted by AnalyticsService",
        expected.revenue(),
        play.figures.revenue(),
    );
    let average = |revenue: crate::Money, orders: u64| revenue.averaged_over(orders);
    let (paid, counted) = (
        expected.count("payment-completed") as u64,
        play.figures.count("payment-completed"),
    );
    step.fact(
        "average order value",
        average(expected.revenue(), paid),
        average(play.figures.revenue(), counted),
    );
    table(play, &mut step, &expected, took);
    step.done()
}

/// Tells the visits from `first` to before `end`: page views, and the orders in which some of them end.
pub(super) async fn tell_visits(play: &Play<'_>, first: usize, end: usize) -> Result<()> {
    let told: Vec<&Event> = play.sessions[first..end]
        .iter()
        .flat_map(|session| session.views.iter().chain(&session.order))
        .collect();
    play.shop.send_all(told).await?;
    Ok(())
}

/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_millis(100);

/// Waits until these groups have handled all that the story holds for them.
pub(super) async fn caught_up(
    play: &Play<'_>,
    step: &Step<'_>,
    expected: &Expected,
    services: &[Service],
) -> Result<()> {
    let total: usize = services
        .iter()
        .map(|service| play.expected_of(*service, expected))
        .sum();
    let all_of_them = async {
        for service in services {
            let due = play.expected_of(*service, expected);
            let watch = &play.group(*service).watch;
            let what = format!("{service} reads {due} events");
            watch
                .wait(&what, |seen| (seen.distinct() >= due).then_some(()))
                .await?;
        }
        Ok::<(), Error>(())
    };
    let telling = async {
        let mut ticks = tokio::time::interval(TOLD_EVERY);
        loop {
            ticks.tick().await;
            let distinct = |service| play.group(service).watch.look(|seen| seen.distinct());
            let done: usize = services.iter().map(|service| distinct(*service)).sum();
            // The last one is told below, once, however the services keep pace.
            if done < total {
                step.progress("events handled", done as u64, total as u64);
            }
        }
    };
    tokio::select! {
        result = all_of_them => result?,
        () = telling => {}
    }
    step.progress("events handled", total as u64, total as u64);
    Ok(())
}

fn first_of(handled: &[crate::service::Handled], event_type: &str) -> Option<()> {
    let is = |handled: &&crate::service::Handled| {
        handled
            .event
            .as_ref()
            .is_some_and(|event| event.event_type() == event_type)
    };
    handled.iter().find(is).map(|_| ())
}

fn table(play: &Play<'_>, step: &mut Step<'_>, expected: &Expected, took: std::time::Duration) {
    let mut rows = Vec::new();
    for service in STARTING_ORDER {
        let due = play.expected_of(service, expected);
        let (handled, led_to) = play
            .group(service)
            .watch
            .look(|seen| (seen.handled.len(), seen.led_to()));
        step.fact(&format!("events handled by {service}"), due, handled);
        let rate = handled as f64 / took.as_secs_f64().max(0.001);
        rows.push(vec![
            service.name().to_owned(),
            handled.to_string(),
            led_to.to_string(),
            format!("{rate:.0}"),
        ]);
    }
    let columns = [
        Column::text("service"),
        Column::number("read"),
        Column::number("written"),
        Column::measured("read/s"),
    ];
    step.table("what each service did", &columns, rows);
}
