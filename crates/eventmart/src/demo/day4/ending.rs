//! The ending: nothing is left over, nothing was lost, order held, duplicates are counted and explained.

use std::collections::BTreeSet;

use crate::demo::STARTING_ORDER;
use crate::demo::day4::Play;
use crate::demo::read_back;
use crate::error::Result;
use crate::platform::Service;
use crate::scenario::{Column, Stage};

pub(super) async fn prove(play: &mut Play<'_>, stage: &mut Stage) -> Result<()> {
    let mut step = stage.step("The proof: lag, loss, order, duplicates").await;
    step.why(
        "what was written is read back from the topics and compared with what each group handled",
    );
    for service in STARTING_ORDER {
        play.ground.wait_for_lag_zero(service).await?;
    }
    let (mut rows, mut total) = (Vec::new(), Totals::default());
    for service in STARTING_ORDER {
        let mut written = BTreeSet::new();
        for topic in service.spec().reads {
            for record in read_back::topic(&play.ground, *topic).await? {
                written.insert((record.topic_partition(), record.offset));
            }
        }
        let lag = play.ground.lag(service).await?;
        play.group(service).watch.look(|seen| {
            let handled: BTreeSet<_> = seen
                .handled
                .iter()
                .map(|handled| (handled.topic_partition.clone(), handled.offset))
                .collect();
            total.missed += written.difference(&handled).count();
            total.lag += lag;
            total.out_of_order += seen.out_of_order();
            total.redelivered += seen.redelivered();
            rows.push(vec![
                service.name().to_owned(),
                written.len().to_string(),
                seen.handled.len().to_string(),
                seen.redelivered().to_string(),
                seen.dead_lettered().to_string(),
                lag.to_string(),
            ]);
        });
    }
    let columns = [
        Column::text("service"),
        Column::number("on its topics"),
        Column::number("handled"),
        Column::number("again"),
        Column::number("put aside"),
        Column::number("lag"),
    ];
    step.table(
        "every group, against what lies on its topics",
        &columns,
        rows,
    );
    step.fact("lag of all groups", 0, total.lag);
    step.fact("records that a group missed", 0, total.missed);
    step.fact(
        "records handled out of the order of their key",
        0,
        total.out_of_order,
    );
    let audit = play
        .group(Service::Audit)
        .watch
        .look(|seen| seen.redelivered());
    step.fact(
        "records handled again, all by AuditService after its stop",
        audit,
        total.redelivered,
    );
    step.note("at least once means: none missing, some twice. Each of them is accounted for by the stop in step 6");
    step.hint("eventmart group lag");
    step.done()
}

#[derive(Default)]
struct Totals {
    lag: i64,
    missed: usize,
    out_of_order: usize,
    redelivered: usize,
}
